--- oddline for Vector's `lua` transform (version 2).
--
--   source: |
--     package.cpath = "/usr/lib/oddline/?.so;" .. package.cpath
--     oddline = require("oddline").new { data_dir = "/var/lib/vector/oddline" }
--   hooks: { init: oddline.init, process: oddline.process, shutdown: oddline.shutdown }
--   timers: [{ interval_seconds: 1, handler: oddline.timer }]
--
-- `new` checks the configuration and opens nothing, since `vector validate` runs it too. Every event that comes is
-- emitted, whatever happens: a Lua error in a hook would make Vector drop it.

local native = require("oddline_native")

local M = { version = native.version }

--- The hooks for a configuration: a table of oddline's keys, or the path of a file with them.
-- `options.metrics = true` makes the timer emit oddline's counters as metric events.
function M.new(config, options)
  native.check(config)
  options = options or {}
  -- At most once a minute for the same kind of trouble.
  local report = native.reporter()
  local scorer
  local closed = false
  local reported = {}

  -- At the first event, or in `init`, whichever comes first.
  local function ready()
    if not scorer and not closed then
      scorer = native.new(config)
      local ok, err = pcall(scorer.open, scorer)
      if not ok then
        report("events pass without scores, will try again", err)
      end
    end
    return scorer
  end

  local function score(log)
    local it = ready()
    if it then
      it:process(log)
    end
  end

  local function synthetic(emit)
    for _, log in ipairs(scorer:tick()) do
      emit({ log = log })
    end
  end

  local function metrics(emit)
    for name, value in pairs(scorer:counts()) do
      local increment = value - (reported[name] or 0)
      if increment > 0 then
        reported[name] = value
        emit({
          metric = {
            namespace = "oddline",
            name = name,
            kind = "incremental",
            timestamp = os.date("!*t"),
            counter = { value = increment },
          },
        })
      end
    end
  end

  local function guarded(what, work, ...)
    local ok, err = pcall(work, ...)
    if not ok then
      report(what, err)
    end
  end

  local hooks = {}

  function hooks.init()
    guarded("init failed", ready)
  end

  function hooks.process(event, emit)
    local log = event.log
    if log then
      local ok, err = pcall(score, log)
      if not ok then
        report("an event passed without a score", err)
      end
    end
    emit(event)
  end

  function hooks.timer(emit)
    if scorer then
      guarded("tick failed", synthetic, emit)
      if options.metrics then
        guarded("metrics failed", metrics, emit)
      end
    end
  end

  function hooks.shutdown(emit)
    hooks.timer(emit)
    if scorer then
      guarded("saving failed", scorer.close, scorer)
    end
    scorer = nil
    closed = true
  end

  --- Counters by name, for tests and for configs of their own.
  function hooks.counts()
    return scorer and scorer:counts() or {}
  end

  return hooks
end

return M
