<CsoundSynthesizer>
; SoundForge from Csound: records for some seconds, lets it go on, prints what it says.
;   csound -odac soundforge.csd --omacro:PORT=9130 --omacro:LISTEN=9133 --smacro:SECONDS=4
; Csound sends from one port and listens on another, so it subscribes first.
<CsOptions>
-d -m0
</CsOptions>
<CsInstruments>
sr = 48000
ksmps = 64
nchnls = 1
0dbfs = 1

#ifndef PORT
#define PORT #9130#
#end
#ifndef LISTEN
#define LISTEN #9133#
#end
gihandle OSCinit $LISTEN

instr 1 ; p4 = seconds to record
  OSCsend 1, "127.0.0.1", $PORT, "/soundforge/subscribe", "i", $LISTEN
  ktime timeinsts
  kstart = (ktime > 0.5 ? 2 : 1)
  OSCsend kstart, "127.0.0.1", $PORT, "/soundforge/capture/start", ""
  kstop = (ktime > 0.5 + p4 ? 2 : 1)
  OSCsend kstop, "127.0.0.1", $PORT, "/soundforge/capture/stop", ""
  kgo = (ktime > 1.0 + p4 ? 2 : 1)
  OSCsend kgo, "127.0.0.1", $PORT, "/soundforge/continue", "sfs", "", 4, "csound"
endin

instr 2 ; what SoundForge says
  Sjob = ""
  Sclip = ""
  Sfile = ""
  Stake = ""
  kseconds init 0
  kpeak init 0
  ktake OSClisten gihandle, "/soundforge/take", "sff", Stake, kseconds, kpeak
  if ktake == 1 then
    printf "soundforge-take: %s %g s\n", ktake, Stake, kseconds
  endif
  kdone OSClisten gihandle, "/soundforge/job/done", "ssfs", Sjob, Sclip, kseconds, Sfile
  if kdone == 1 then
    printf "soundforge-done: %s %s %g s\n", kdone, Sjob, Sclip, kseconds
    event "e", 0, 0.1
  endif
endin
</CsInstruments>
<CsScore>
i 2 0 600
i 1 0 600 $SECONDS
</CsScore>
</CsoundSynthesizer>
