-- Transport demultiplexing: reads the decision out of the comment that demuxlab wrote to each packet,
-- and gives Wireshark and tshark fields of it: demux.socket, demux.rule, demux.key, demux.verdict, demux.reply,
-- demux.losers; of those that a process of this machine sent, demux.sender; of the frames in a queue, demux.queue
-- and demux.waiting.

-- Loaded twice (installed, and by `demuxlab open`) the second one has nothing to do.
local fresh, demux = pcall(Proto, "demux", "Transport demultiplexing")
if not fresh then return end

local fields = {
    socket = ProtoField.string("demux.socket", "Socket"),
    rule = ProtoField.string("demux.rule", "Rule"),
    key = ProtoField.string("demux.key", "Key"),
    verdict = ProtoField.string("demux.verdict", "Verdict"),
    reply = ProtoField.string("demux.reply", "Answered with"),
    reason = ProtoField.string("demux.reason", "Reason"),
    losers = ProtoField.string("demux.losers", "Candidate"),
    sender = ProtoField.string("demux.sender", "Sent by"),
    queue = ProtoField.string("demux.queue", "In the queue of"),
    waiting = ProtoField.uint32("demux.waiting", "Waiting there"),
}
demux.fields = {
    fields.socket, fields.rule, fields.key, fields.verdict, fields.reply, fields.reason,
    fields.losers, fields.sender, fields.queue, fields.waiting,
}

local comment_of = Field.new("frame.comment")

-- What `telling/comment.py` writes, and what the tables there call it. Tests compare both with the Python side.
local RULES = {
    "connection", "listener", "wildcard listener", "connected two-tuple", "two-tuple", "wildcard two-tuple",
}
local REPLIES = {["RST"] = "rst", ["ICMP port unreachable"] = "port-unreachable"}

-- In names the separators of a comment are percent-encoded.
local function decoded(text)
    return (text:gsub("%%(%x%x)", function(digits) return string.char(tonumber(digits, 16)) end))
end

-- Splits "P4: connection 10.9.0.10:9157 → 10.9.0.20:80; …" into the sockets, the rule, the values that it compared,
-- and the rest; of a rule that is not in RULES, the fifth result is its text.
-- In captures of older versions a name may hold separators, but only a rule has an address behind it.
local function choice(text)
    local names, group, more = text:match("^.-: a copy each to (.-): ([%d%[][^%s;]*)(.*)$")
    if names then
        local sockets = {}
        for name in (names .. ", "):gmatch("(.-), ") do sockets[#sockets + 1] = decoded(name) end
        return sockets, "copy to each", group, more
    end
    local name, rule, after
    for _, candidate in ipairs(RULES) do
        local from, to = text:find(": " .. candidate:gsub("%-", "%%-") .. " [%d%[]")
        if from and (name == nil or from <= #name) then
            name, rule, after = text:sub(1, from - 1), candidate, text:sub(to)
        end
    end
    if name == nil then
        -- The text of a demultiplexer in the table's place, in place of a rule.
        local head, rest = text:match("^(.-)(; .*)$")
        local socket, reason = (head or text):match("^(.-): (.+)$")
        return {decoded(socket or head or text)}, nil, nil, rest or "", reason
    end
    local key, rest = after:match("^([^;]+)(.*)$")
    return {decoded(name)}, rule, (key:gsub(" takes %S+$", "")), rest
end

-- After the first "; ": the reply, and one part for each socket that lost. Every part that is not a reply is a loser,
-- also one of unknown form.
local function ending(text)
    local losers, reply = {}, nil
    for part in (text:gsub("^; ", "") .. "; "):gmatch("(.-); ") do
        local answer = part:match("^answered with ([^:]+)")
        if answer and REPLIES[answer] then
            reply = REPLIES[answer]
        elseif part ~= "" and part ~= "not answered" then
            losers[#losers + 1] = decoded(part)
        end
    end
    return reply, losers
end

-- Return the decision in a comment as a table of fields, or nil where it has none.
local function read(comment)
    local place, amount = comment:match("^in (.*queue %d+%)?): (%w+ .+)$")
    place = place or comment:match("^in (.*queue %d+%)?)$")
    if place then
        local waiting = amount and (tonumber(amount:match("^%d+")) or 0) or nil
        return {queue = place:match("^(.*) %(queue %d+%)$") or place, waiting = waiting, outcome = comment}
    end
    local forwarder = comment:match("^↷ forwarded by (.+)$")
    if forwarder then return {verdict = "forwarded", rule = forwarder, outcome = "forwarded"} end
    local decision, rest = {}, nil
    local delivered, full = comment:match("^→ (.+)$"), comment:match("^✗ queue full: (.+)$")
    local nowhere, after = comment:match("^✗ no %S+ socket for ([^%s;]+)(.*)$")
    if delivered or full then
        decision.verdict = delivered and "delivered" or "queue-full"
        decision.sockets, decision.rule, decision.key, rest, decision.reason = choice(delivered or full)
    elseif nowhere then
        decision.verdict, decision.key, rest = "no-socket", nowhere, after
    else
        local verdict, reason = comment:match("^✗ ([%w-]+):? ?(.*)$")
        if verdict == nil then return nil end
        decision.verdict, decision.reason = verdict, reason ~= "" and reason or nil
    end
    decision.reply, decision.losers = ending(rest or "")
    decision.outcome = decision.sockets and table.concat(decision.sockets, ", ") or decision.verdict
    return decision
end

function demux.dissector(buffer, pinfo, root)
    local decision, sender
    for _, comment in ipairs({comment_of()}) do
        local text = tostring(comment.value)
        sender = sender or text:match("^sent by (.+)$")
        decision = decision or read(text)
    end
    if sender then
        decision = decision or {outcome = "sent by " .. sender}
        decision.sender = sender
    end
    if not decision then return end
    local tree = root:add(demux, buffer(0, 0))
    tree:append_text(": " .. decision.outcome .. (decision.rule and ", by rule " .. decision.rule or ""))
    for _, socket in ipairs(decision.sockets or {}) do
        tree:add(fields.socket, socket):set_generated()
    end
    for _, name in ipairs({"rule", "key", "verdict", "reply", "reason", "sender", "queue", "waiting"}) do
        if decision[name] then tree:add(fields[name], decision[name]):set_generated() end
    end
    for _, loser in ipairs(decision.losers or {}) do
        tree:add(fields.losers, loser):set_generated()
    end
    if decision.queue then
        -- The same bytes once more: Wireshark would call them a retransmission.
        pinfo.cols.info:clear_fence()
        pinfo.cols.info:set(decision.outcome)
    end
end

register_postdissector(demux)
