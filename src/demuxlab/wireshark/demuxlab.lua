-- Transport demultiplexing: reads the decision out of the comment that demuxlab wrote to each packet,
-- and gives Wireshark and tshark fields of it: demux.socket, demux.rule, demux.key, demux.verdict, demux.reply,
-- demux.losers; of the frames in a queue, demux.queue and demux.waiting.

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
    queue = ProtoField.string("demux.queue", "In the queue of"),
    waiting = ProtoField.uint32("demux.waiting", "Waiting there"),
}
demux.fields = {
    fields.socket, fields.rule, fields.key, fields.verdict, fields.reply, fields.reason,
    fields.losers, fields.queue, fields.waiting,
}

local comment_of = Field.new("frame.comment")

-- The longer ones first: "wildcard listener" ends in "listener".
local RULES = {
    "connected two-tuple", "wildcard two-tuple", "two-tuple", "wildcard listener", "listener", "connection",
}
local REPLIES = {["RST"] = "rst", ["ICMP port unreachable"] = "port-unreachable"}

-- "P4: connection 10.9.0.10:9157 → 10.9.0.20:80; …" is the socket, the rule, what it matched, and the rest.
-- A name may hold anything, but after the rule stands an address.
local function choice(text)
    local first, group = text:match("^(.-): a copy each to .+: ([%d%[][^%s;]*)")
    if first then return first, "copy to each", group, "" end
    local name, rule, after
    for _, candidate in ipairs(RULES) do
        local from, to = text:find(": " .. candidate:gsub("%-", "%%-") .. " [%d%[]")
        if from and (name == nil or from <= #name) then
            name, rule, after = text:sub(1, from - 1), candidate, text:sub(to)
        end
    end
    if name == nil then return text, nil, nil, "" end
    local key, rest = after:match("^([^;]+)(.*)$")
    return name, rule, (key:gsub(" takes %S+$", "")), rest
end

-- What stands behind "; ": the answer, then who lost.
local function ending(text)
    local losers, reply = {}, nil
    for part in (text .. "; "):gmatch("(.-); ") do
        local answer = part:match("^answered with ([^:]+)")
        if answer then
            reply = REPLIES[answer]
        elseif part:find(" lost: ", 1, true) then
            losers[#losers + 1] = part
        end
    end
    return reply, losers
end

-- Return the decision that a comment tells, as a table of fields, or nil where it tells none.
local function read(comment)
    local place, amount = comment:match("^in (.*queue %d+%)?): (%w+ .+)$")
    place = place or comment:match("^in (.*queue %d+%)?)$")
    if place then
        local waiting = amount and (tonumber(amount:match("^%d+")) or 0) or nil
        return {queue = place:match("^(.*) %(queue %d+%)$") or place, waiting = waiting, words = comment}
    end
    local forwarder = comment:match("^↷ forwarded by (.+)$")
    if forwarder then return {verdict = "forwarded", rule = forwarder} end
    local decision, rest = {}, nil
    local delivered, full = comment:match("^→ (.+)$"), comment:match("^✗ queue full: (.+)$")
    local nowhere, after = comment:match("^✗ no %S+ socket for ([^%s;]+)(.*)$")
    if delivered or full then
        decision.verdict = delivered and "delivered" or "queue-full"
        decision.socket, decision.rule, decision.key, rest = choice(delivered or full)
    elseif nowhere then
        decision.verdict, decision.key, rest = "no-socket", nowhere, after
    else
        local verdict, reason = comment:match("^✗ ([%w-]+):? ?(.*)$")
        if verdict == nil then return nil end
        decision.verdict, decision.reason = verdict, reason ~= "" and reason or nil
    end
    decision.reply, decision.losers = ending(rest or "")
    return decision
end

function demux.dissector(buffer, pinfo, root)
    local comment = comment_of()
    local decision = comment and read(tostring(comment.value))
    if not decision then return end
    local tree = root:add(demux, buffer(0, 0))
    local outcome = decision.words or decision.socket or decision.verdict
    tree:append_text(": " .. outcome .. (decision.rule and ", by rule " .. decision.rule or ""))
    for _, name in ipairs({"socket", "rule", "key", "verdict", "reply", "reason", "queue", "waiting"}) do
        if decision[name] then tree:add(fields[name], decision[name]):set_generated() end
    end
    for _, loser in ipairs(decision.losers or {}) do
        tree:add(fields.losers, loser):set_generated()
    end
    if decision.queue then
        -- The same bytes once more: Wireshark would call them a retransmission.
        pinfo.cols.info:clear_fence()
        pinfo.cols.info:set(decision.words)
    end
end

register_postdissector(demux)
