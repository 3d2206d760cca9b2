package checker

import (
	"fmt"
	"strings"
	"text/tabwriter"
)

// Class is what became of one record. Every record has exactly one.
//
// A record of a job topic takes its job's final outcome when it is the first of its identity, however many hops the job
// took; further records of the identity are duplicates, conflicts or stale. A record of a tier is moved when a later copy
// of its generation exists, takes the job's outcome when it is the last of its generation, and is stale when it is a
// second copy of the same hop or of a generation that was left behind.
type Class string

// The classes. Lost is the only wrong one.
const (
	Done      Class = "done"
	Waiting   Class = "waiting" // not consumed yet
	Dead      Class = "dead"
	Discarded Class = "discarded"
	Expired   Class = "expired"
	Duplicate Class = "duplicate"
	Stale     Class = "stale"
	Conflict  Class = "conflict"
	Moved     Class = "moved" // tiers only
	Lost      Class = "lost"
)

var classes = [...]Class{Done, Waiting, Dead, Discarded, Expired, Duplicate, Stale, Conflict, Moved, Lost}

// Row is the account of one topic: how many of its records are of each class.
type Row struct {
	Topic   string        `json:"topic"`
	Records int           `json:"records"`
	Classes map[Class]int `json:"classes"`
	Doubled int           `json:"doubled"` // records of jobs that reached more than one final outcome without excuse
}

// Balanced reports whether every record is accounted for once.
func (r *Row) Balanced() bool {
	sum := 0
	for class, n := range r.Classes {
		if class != Lost {
			sum += n
		}
	}
	return sum == r.Records && r.Doubled == 0
}

// Account is I11 seen from outside: each record of each job topic and tier, counted once.
type Account struct {
	Rows []Row `json:"rows"` // a job topic, then its tiers, then the next job topic
	Jobs Row   `json:"jobs"` // the sum of the job topics alone: what was read, and what became of it
}

// Balanced reports whether every row is.
func (a *Account) Balanced() bool {
	for i := range a.Rows {
		if !a.Rows[i].Balanced() {
			return false
		}
	}
	return true
}

// String is the account as a table, a line for each topic.
func (a *Account) String() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(w, "topic\trecords\t")
	for _, class := range classes {
		fmt.Fprint(w, class, "\t")
	}
	fmt.Fprintln(w, "doubled\t")
	rows := a.Rows
	if len(rows) != 1 {
		rows = append(rows[:len(rows):len(rows)], a.Jobs)
	}
	for _, r := range rows {
		fmt.Fprintf(w, "%s\t%d\t", r.Topic, r.Records)
		for _, class := range classes {
			fmt.Fprintf(w, "%d\t", r.Classes[class])
		}
		fmt.Fprintf(w, "%d\t\n", r.Doubled)
	}
	w.Flush()
	return b.String()
}

// account adds up the classes that settle gave out.
func (c *check) account() {
	a := &c.res.Account
	row := make(map[string]int)
	add := func(name string) {
		row[name] = len(a.Rows)
		a.Rows = append(a.Rows, Row{Topic: name, Classes: map[Class]int{}})
	}
	for _, jt := range c.in.Jobs {
		add(jt.Topic)
		for _, t := range jt.Tiers {
			add(t.Topic)
		}
	}
	a.Jobs = Row{Topic: "all jobs", Classes: map[Class]int{}}
	for _, rec := range c.byPos {
		r := &a.Rows[row[rec.pos.Topic]]
		r.count(rec)
		if rec.tier < 0 {
			a.Jobs.count(rec)
		}
	}
	for i := range a.Rows {
		if r := &a.Rows[i]; !r.Balanced() {
			c.broken(RuleI11, nil, fmt.Sprintf("the account of %s does not balance: %d records, %d lost, %d doubled",
				r.Topic, r.Records, r.Classes[Lost], r.Doubled))
		}
	}
}

func (r *Row) count(rec *record) {
	r.Records++
	r.Classes[rec.class]++
	if rec.job.double && rec == rec.job.first() {
		r.Doubled++
	}
}
