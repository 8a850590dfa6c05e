--- Behaves towards a script as Vector's lua transform does: hooks are expressions that give functions, `init` runs at
-- the first event, an error in a hook loses what it did not emit.

local host = {}

local function literal(text)
  return '"' .. text:gsub('[%c"\\]', function(c)
    return string.format("\\u%04x", c:byte())
  end) .. '"'
end

--- JSON of a value. Floats keep their point, so that types can be told apart.
function host.json(value)
  local kind = type(value)
  if kind == "string" then
    return literal(value)
  elseif kind == "number" then
    if math.type(value) == "integer" then
      return tostring(value)
    end
    local text = string.format("%.17g", value)
    return text:find("[.e]") and text or text .. ".0"
  elseif kind == "table" then
    local parts = {}
    if #value > 0 then
      for index, item in ipairs(value) do
        parts[index] = host.json(item)
      end
      return "[" .. table.concat(parts, ",") .. "]"
    end
    for key, item in pairs(value) do
      parts[#parts + 1] = literal(tostring(key)) .. ":" .. host.json(item)
    end
    return "{" .. table.concat(parts, ",") .. "}"
  end
  return tostring(value)
end

local function expression(code)
  return assert(load("return " .. code, code))()
end

--- A transform from `config`: source, hooks {init, process, shutdown}, timer.
function host.transform(config)
  if config.source then
    assert(load(config.source, "source"))()
  end
  local hooks = {}
  for name, code in pairs(config.hooks) do
    hooks[name] = expression(code)
  end
  local timer = config.timer and expression(config.timer)
  local transform = { out = {}, errors = {} }
  local started = false

  local function emit(event)
    assert(type(event) == "table" and (event.log or event.metric), "an event is a table with log or metric")
    transform.out[#transform.out + 1] = event
  end

  local function call(hook, ...)
    local ok, err = pcall(hook, ...)
    if not ok then
      transform.errors[#transform.errors + 1] = tostring(err)
    end
  end

  function transform:send(event)
    if not started and hooks.init then
      call(hooks.init, emit)
    end
    started = true
    call(hooks.process, event, emit)
    collectgarbage()
  end

  function transform:tick()
    call(timer, emit)
  end

  function transform:stop()
    if hooks.shutdown then
      call(hooks.shutdown, emit)
    end
  end

  return transform
end

--- The transform of the README, with oddline's `config` as Lua text.
function host.oddline(config)
  return host.transform({
    source = "oddline = require('oddline').new(" .. (config or "{}") .. ")",
    hooks = { init = "oddline.init", process = "oddline.process", shutdown = "oddline.shutdown" },
    timer = "oddline.timer",
  })
end

return host
