-- One request or many in turn, formatted once; the outcome as one line of JSON.

local prepared = {}
local turn = 0

function init(args)
   local body = nil
   local size = tonumber(os.getenv("BENCHMARK_BODY_BYTES") or "0")
   if size > 0 then
      body = string.rep("x", size)
      wrk.headers["Content-Type"] = "application/octet-stream"
   end
   wrk.method = size > 0 and "POST" or "GET"
   for path in io.lines(os.getenv("BENCHMARK_PATHS")) do
      prepared[#prepared + 1] = wrk.format(nil, path, nil, body)
   end
end

function request()
   turn = turn % #prepared + 1
   return prepared[turn]
end

function done(summary, latency, requests)
   local errors = summary.errors
   io.write(string.format(
      '\noutcome {"requests": %d, "microseconds": %d, "status": %d, ' ..
      '"connect": %d, "read": %d, "write": %d, "timeout": %d, "p99": %d}\n',
      summary.requests, summary.duration, errors.status, errors.connect,
      errors.read, errors.write, errors.timeout, latency:percentile(99)))
end
