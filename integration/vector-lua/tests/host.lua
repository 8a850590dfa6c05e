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

local VALUES = { "counter", "gauge", "set", "distribution", "aggregated_histogram", "aggregated_summary", "sketch" }

--- Refuses what Vector would not take for a metric (its `Metric::from_lua`).
function host.check_metric(metric)
  assert(type(metric) == "table", "a metric is a table")
  assert(type(metric.name) == "string", "a metric has a name")
  assert(metric.namespace == nil or type(metric.namespace) == "string", "a namespace is a text")
  assert(metric.kind == "incremental" or metric.kind == "absolute", "a kind is incremental or absolute")
  for _, part in ipairs({ "year", "month", "day", "hour", "min", "sec" }) do
    assert(metric.timestamp == nil or math.type(metric.timestamp[part]) == "integer", "a timestamp has a " .. part)
  end
  for name, tag in pairs(metric.tags or {}) do
    assert(type(name) == "string" and type(tag) == "string", "tags are texts")
  end
  local found
  for _, kind in ipairs(VALUES) do
    assert(not (found and metric[kind]), "a metric has one value")
    found = found or metric[kind]
  end
  assert(type(found) == "table" and type(found.value) == "number", "a counter or gauge has a number")
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
    assert(type(event) == "table" and (event.log == nil) ~= (event.metric == nil), "an event has either log or metric")
    if event.metric then
      host.check_metric(event.metric)
    end
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

--- The transform of the README, with oddline's `config` and perhaps the wrapper's `options` as Lua text.
function host.oddline(config, options)
  return host.transform({
    source = "oddline = require('oddline').new(" .. (config or "{}") .. ", " .. (options or "nil") .. ")",
    hooks = { init = "oddline.init", process = "oddline.process", shutdown = "oddline.shutdown" },
    timer = "oddline.timer",
  })
end

return host
