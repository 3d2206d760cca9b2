// Package group decides which instance of a consumer group owns which task.
//
// A task is partition i of a job topic together with partition i of every retry tier of that topic. Its partitions
// share one state (receipts, order by key, frontier), so they have one owner at a time and change hands together. The
// stock balancers know nothing of that: they deal out single partitions.
//
// What lives here: Balancer, the task-atomic cooperative balancer that the leader of the group runs.
//
// Who may call it: package consumer and its rooms, nobody else.
//
// What it never does: it reads and writes no record, commits no offset, starts no goroutine, keeps no clock and no
// memory from one rebalance to the next. Every decision is a function of what the members told the broker in that
// rebalance, so any member may lead and a new leader decides as the old one would have.
package group
