ardour {
  ["type"] = "EditorAction",
  name = "SoundForge",
  license = "MIT",
  author = "SoundForge",
  description = [[Drives SoundForge over OSC from a menu entry, a key or a button: a takeover of four bars unless
the action's parameters say otherwise, at the session's tempo.]]
}

function action_params ()
  return {
    ["address"] = { title = "Address after /soundforge/", default = "takeover" },
    ["first"]   = { title = "First number (- = none)", default = "4" },
    ["second"]  = { title = "Second number (- = none)", default = "4" },
    ["port"]    = { title = "Port", default = "9130" },
  }
end

function factory (params)
  return function ()
    local p = params or {}
    local to = ARDOUR.LuaOSC.Address ("osc.udp://127.0.0.1:" .. (p["port"] or "9130"))

    -- The tempo at the playhead, where there is a session (in a script of ardour7-lua there may be none).
    if Session then
      local map = Temporal.TempoMap.read ()
      local where = Temporal.timepos_t (Session:transport_sample ())
      local tempo = map:quarters_per_minute_at (where)
      if tempo > 0 then to:send ("/soundforge/transport/tempo", "f", tempo) end
      map = nil
    end

    local types, numbers = "", {}
    for _, name in ipairs ({ "first", "second" }) do
      local number = tonumber (p[name] or "4")
      if number then types = types .. "i"; numbers[#numbers + 1] = math.floor (number) end
    end
    local address = "/soundforge/" .. (p["address"] or "takeover")
    if #numbers == 2 then to:send (address, types, numbers[1], numbers[2])
    elseif #numbers == 1 then to:send (address, types, numbers[1])
    else to:send (address, "") end
  end
end
