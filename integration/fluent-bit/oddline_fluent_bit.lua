--- oddline for Fluent Bit's filter `lua`, where a plugin cannot be loaded.
--
--   code: |
--     package.path = "/usr/lib/oddline/?.lua;" .. package.path
--     package.cpath = "/usr/lib/oddline/luajit/?.so;" .. package.cpath
--     cb_filter = require("oddline_fluent_bit").new { data_dir = "/var/lib/fluent-bit/oddline" }
--   call: cb_filter
--
-- `new` checks the configuration and opens nothing; the first record does. Every record that comes goes on, whatever
-- happens. What was learned is saved when Fluent Bit closes the state, and by the write-ahead log before that.

local native = require("oddline_native")

local M = { version = native.version }

--- What filter_lua is told: nothing changed, or the record did and the time did not.
local UNCHANGED, RECORD = 0, 2

--- A date table as text: Fluent Bit would make a map of it.
local function text(date)
  return string.format(
    "%04d-%02d-%02dT%02d:%02d:%02d.%06dZ",
    date.year, date.month, date.day, date.hour, date.min, date.sec, math.floor(date.nanosec / 1000)
  )
end

--- The function for `call`, for a table of oddline's keys or the path of a file with them.
function M.new(config)
  if type(config) == "table" and not config.data_dir then
    error("oddline: data_dir: expected a directory for what is learned, found nothing", 0)
  end
  local accepted, refused = pcall(native.check, config)
  if not accepted then
    -- As text: Fluent Bit shows nothing else.
    error(tostring(refused), 0)
  end
  -- At most once a minute for the same kind of trouble.
  local report = native.reporter()
  local scorer
  local ticked_at = 0

  local function ready()
    if not scorer then
      scorer = native.new(config)
      local ok, err = pcall(scorer.open, scorer)
      if not ok then
        report("records pass without scores, will try again", err)
      end
    end
    return scorer
  end

  --- The record, and behind it what oddline has to say of its own, about once a second.
  local function with_synthetic(record)
    local now = os.time()
    if now == ticked_at then
      return record
    end
    ticked_at = now
    local records = { record }
    for _, log in ipairs(scorer:tick()) do
      log.timestamp = text(log.timestamp)
      records[#records + 1] = log
    end
    return #records > 1 and records or record
  end

  local function score(timestamp, record)
    ready():process(record, timestamp)
    return with_synthetic(record)
  end

  return function(_, timestamp, record)
    if type(record) ~= "table" then
      return UNCHANGED, timestamp, record
    end
    local ok, result = pcall(score, type(timestamp) == "number" and timestamp or nil, record)
    if not ok then
      report("a record passed without a score", result)
      return UNCHANGED, timestamp, record
    end
    return RECORD, timestamp, result
  end
end

return M
