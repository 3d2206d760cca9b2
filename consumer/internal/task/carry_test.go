package task

import "github.com/waybill-dev/waybill/dedupe"

// boundary stands between any two effects, and reports whether the process ended there.
func (p *proc) boundary() bool {
	if w := p.w; !p.gone && w.fuse > 0 {
		if w.fuse--; w.fuse == 0 {
			w.trace("%s: ends between two effects", p.name)
			w.burnt++
			p.crash()
		}
	}
	return p.gone
}

// carry does what the machine wants done, and checks each wish.
func (p *proc) carry() {
	if p.lazy || p.gone {
		return
	}
	p.effects()
	p.m.Out.Reset()
}

// effects carries out what the machine wants, one by one, until the process ends.
func (p *proc) effects() {
	w, f := p.w, &p.m.Out
	if p.ask(f); p.gone {
		return
	}
	for _, e := range f.Run {
		if p.boundary() {
			return
		}
		var rest []*Entry
		for x := e; len(rest) < e.Chain(); {
			x = x.Next()
			rest = append(rest, x)
		}
		p.start(e, rest)
	}
	for _, x := range f.Writes {
		if p.boundary() {
			return
		}
		w.trace("%s: %s", p.name, describe(p, x))
		p.active[x.Entry] = true
		p.writes = append(p.writes, &flight{p: p, write: x})
	}
	p.records(f)
}

// records sends segments, answers who waited for one, and asks for commits.
func (p *proc) records(f *Effects) {
	if f.Segment != nil && !p.boundary() {
		p.sendSegment(f.Segment, false)
	}
	if f.Late != nil && !p.boundary() {
		p.sendSegment(f.Late, true)
	}
	p.cleared += len(f.Cleared)
	for _, k := range f.Kept {
		if p.boundary() {
			return
		}
		k.Done()
	}
	for _, o := range f.Commit {
		if p.boundary() {
			return
		}
		p.want[o.Topic] = o.At
	}
	if f.Drained && !p.boundary() {
		p.w.trace("%s: drained", p.name)
		p.drained = true
	}
}

// ask asks the log and the cluster.
func (p *proc) ask(f *Effects) {
	w := p.w
	if f.Own {
		w.trace("%s: ownership record", p.name)
		p.logq = append(p.logq, &flight{p: p, own: true, parts: []*dedupe.Entry{{Owner: &dedupe.Owner{Process: p.name, Of: dedupe.Place{Cluster: w.cluster, Topic: w.main().id}}}}})
	}
	if f.Reread != nil && !p.boundary() {
		w.trace("%s: read %s again from %d", p.name, f.Reread.Topic, f.Reread.At)
		if p.again != nil {
			w.fail("%s asks for a second reread while one is under way", p.name)
		}
		p.again = f.Reread
	}
	if f.Read != nil && !p.boundary() {
		if p.read != nil {
			w.fail("%s asks for a second read", p.name)
		}
		w.trace("%s: read log %d to %d", p.name, f.Read.From, f.Read.To)
		p.read = f.Read
	}
	if f.Prove && !p.boundary() {
		w.trace("%s: prove membership", p.name)
		p.asks++
	}
	for _, n := range f.Notes {
		w.trace("%s: note: %s", p.name, n)
	}
	for _, o := range f.Rewound {
		w.trace("%s: audit: rewound %s to %d", p.name, o.Topic, o.At)
		if o.Topic == "main" {
			p.obeyed = true
		}
	}
	for _, o := range f.Start {
		if p.boundary() {
			return
		}
		w.trace("%s: start %s at %d", p.name, o.Topic, o.At)
		p.fetch[o.Topic], p.started[o.Topic] = o.At, true
	}
	if !p.boundary() {
		p.flow(f)
	}
}

// flow pauses and resumes as the client would: all pauses, then all resumes.
func (p *proc) flow(f *Effects) {
	for _, t := range f.Pause {
		p.w.trace("%s: pause %s (%s)", p.name, t, p.m.byTopic[t].pauses.String())
		p.paused[t] = true
	}
	for _, t := range f.Resume {
		p.w.trace("%s: resume %s", p.name, t)
		p.paused[t] = false
	}
	for t, s := range p.m.byTopic {
		if p.m.phase != gone && p.paused[t] != (s.pauses.bits != 0) {
			p.w.fail("%s: %s is paused: %v, but its reasons are %q", p.name, t, p.paused[t], s.pauses.String())
		}
	}
}
