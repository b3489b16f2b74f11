// SoundForge from Bitwig Studio: buttons in the studio's settings, and its tempo and play state go along.
// Put this file into Bitwig's "Controller Scripts" folder and add the controller "SoundForge / OSC".
loadAPI(17);
host.setShouldFailOnDeprecatedUse(true);
host.defineController("SoundForge", "OSC", "0.1", "7d1f5f0c-94f5-4f0b-8f7c-3f4a5a3c9130", "SoundForge");

function init() {
  var settings = host.getPreferences();
  var port = settings.getNumberSetting("Port", "SoundForge", 1, 65535, 1, "", 9130);
  var connection = host.getOscModule().connectToUdpServer("127.0.0.1", Math.round(port.getRaw()) || 9130, null);

  function send(address) {
    var values = Array.prototype.slice.call(arguments, 1);
    connection.sendMessage.apply(connection, ["/soundforge/" + address].concat(values));
  }

  var document = host.getDocumentState();
  var bars = document.getNumberSetting("Bars", "SoundForge", 1, 32, 1, "", 4);
  var text = document.getStringSetting("Text", "SoundForge", 200, "");
  text.addValueObserver(function (value) { send("param/text", value); });
  [["Capture", function () { send("capture/bars", Math.round(bars.getRaw())); }],
   ["Continue", function () { send("continue"); }],
   ["Generate", function () { send("generate"); }],
   ["Regenerate", function () { send("regenerate"); }],
   ["Take over", function () { send("takeover", Math.round(bars.getRaw()), Math.round(bars.getRaw())); }],
   ["Take over, endless", function () { send("takeover", Math.round(bars.getRaw()), 0); }],
   ["Release", function () { send("release"); }],
   ["Panic", function () { send("panic"); }]
  ].forEach(function (row) {
    document.getSignalSetting(row[0], "SoundForge", row[0]).addSignalObserver(row[1]);
  });

  var transport = host.createTransport();
  transport.tempo().value().addRawValueObserver(function (bpm) { send("transport/tempo", bpm); });
  transport.isPlaying().addValueObserver(function (playing) { send(playing ? "transport/start" : "transport/stop"); });
}

function flush() {}
function exit() {}
