// Package bench measures Waybill beside a plain franz-go loop on the same records: the cases of `waybill bench`.
//
// # Method
//
// A case prints rows. In a row a figure is the median of its rounds, five by default; the interval printed beside it is the
// lowest and the highest of them, which for five rounds is a distribution-free confidence interval of the median of 93.75%
// (1 - 2*(1/2)^5; David and Nagaraja, Order Statistics, section 7.1). A round is a pair: the raw side, then Waybill's, so
// that the sides alternate (ABAB) and a machine that gets slower or faster does so for both. A ratio is taken within each
// pair, and its median is that of the pairs' ratios, not the ratio of medians.
//
// Each side is a process of its own, this program started again, so that its processor time (getrusage, user and system)
// is its own; only one runs at a time. A side works through its topic, in a new group each time, until it has done so for at least the
// seconds asked for, ten by default: these are its passes. The clock of a pass runs from the first record in hand until
// the group's committed offsets stand at the end of the topic, on both sides; its processor time begins before the client
// is made, since clients fetch ahead. Where the number of partitions is what is measured, both begin when every partition
// has delivered.
//
// Topics have names of their own in each run and are deleted afterwards, with the groups: 8 partitions, loaded with values
// of 200 B that no codec compresses, under the headers that package producer writes, in batches as franz-go's defaults
// make and compress them. "Zipf" is s=1.1, v=1 over 10,000 keys from seed 1 (math/rand): the hottest has 15% of the records.
//
// The raw side is a consumer group loop with franz-go's defaults that calls a function for each record and commits every
// 100 ms, which is Waybill's tick. Waybill runs with the defaults of consumer.Config unless the case says otherwise.
//
// What is short of this (fewer rounds, shorter sides, fewer jobs) is for trying things out: its rows say so in
// "below_method", and are never held against a figure.
//
// # Who may call it
//
// cmd/waybill, and the module bench/, which measures others on the same topics. It is a main program in a room: nothing
// else imports it. It changes nothing in a cluster but what it made itself, and it never embeds a broker.
//
// # Adding a case
//
// A Case in a file of its own, named in Cases; what its sides do in processes of their own is a role, named in roles.
package bench
