-- wrk's part of bench/deliveries.py: one signed body, an id of its own for each delivery, every answer written down.
-- Arguments: the file of the body, its signature, what ids begin with, the file for the answers.
local number, head, tail, answers = 0, "", "", nil

function init(args)
  local file = assert(io.open(args[1], "rb"))
  local body = file:read("*a")
  file:close()
  local lines = {
    "POST " .. wrk.path .. " HTTP/1.1", "Host: " .. wrk.host .. ":" .. wrk.port, "User-Agent: GitHub-Hookshot/044aadd",
    "Accept: */*", "Content-Type: application/json", "Content-Length: " .. #body, "X-GitHub-Event: push",
    "X-GitHub-Hook-ID: 292430182", "X-Hub-Signature-256: " .. args[2], "X-GitHub-Delivery: " .. args[3] .. "-",
  }
  head, tail = table.concat(lines, "\r\n"), "\r\n\r\n" .. body
  answers = assert(io.open(args[4], "w"))
end

function request()
  number = number + 1
  return head .. number .. tail
end

function response(status, _, body)
  answers:write(status, " ", body, "\n")
end

function done(summary, latency)
  local wrong = summary.errors
  io.write(string.format(
    '\n{"requests": %d, "seconds": %f, "p50_ms": %f, "p99_ms": %f, "refused": %d, "broken": %d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    wrong.status, wrong.connect + wrong.read + wrong.write + wrong.timeout))
end
