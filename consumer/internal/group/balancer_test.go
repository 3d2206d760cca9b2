package group_test

import "testing"

// TestSingleRounds: what one round makes of one situation. The generation being planned is 10, so members that were
// there before say 9.
func TestSingleRounds(t *testing.T) {
	tests := []struct {
		name    string
		counts  string
		members []participant
		want    map[string]string // by member; one that is absent gets nothing
	}{
		{
			name:    "one member takes all",
			counts:  "T:3 T.1:3",
			members: []participant{{id: "a", subs: "T T.1"}},
			want:    map[string]string{"a": "T:0,1,2 T.1:0,1,2"},
		},
		{
			name:    "tiers follow their job topic",
			counts:  "T:3 T.1:3 T.2:3",
			members: []participant{{id: "a", subs: "T T.1 T.2"}, {id: "b", subs: "T T.1 T.2"}},
			want: map[string]string{
				"a": "T:0,1 T.1:0,1 T.2:0,1",
				"b": "T:2 T.1:2 T.2:2",
			},
		},
		{
			name:   "a join: moved tasks are held back whole, the others untouched",
			counts: "T:4 T.1:4",
			members: []participant{
				{id: "a", subs: "T T.1", owns: "T:0,1,2,3 T.1:0,1,2,3", gen: 9},
				{id: "b", subs: "T T.1"},
			},
			want: map[string]string{"a": "T:0,1 T.1:0,1"},
		},
		{
			name:   "the round after: handed over whole",
			counts: "T:4 T.1:4",
			members: []participant{
				{id: "a", subs: "T T.1", owns: "T:0,1 T.1:0,1", gen: 9},
				{id: "b", subs: "T T.1", gen: 9},
			},
			want: map[string]string{"a": "T:0,1 T.1:0,1", "b": "T:2,3 T.1:2,3"},
		},
		{
			name:   "the claim on one tier partition holds up the whole task",
			counts: "T:2 T.1:2",
			members: []participant{
				{id: "a", subs: "T T.1", owns: "T:0 T.1:0,1", gen: 9},
				{id: "b", subs: "T T.1", gen: 9},
				{id: "c", subs: "T", owns: "T.1:1", gen: 9}, // claims what it does not even consume
			},
			want: map[string]string{"a": "T:0 T.1:0"},
		},
		{
			name:   "a leave: only the orphans are dealt out",
			counts: "T:4 T.1:4",
			members: []participant{
				{id: "a", subs: "T T.1", owns: "T:3 T.1:3", gen: 9},
				{id: "b", subs: "T T.1", owns: "T:0 T.1:0", gen: 9},
			},
			want: map[string]string{"a": "T:1,3 T.1:1,3", "b": "T:0,2 T.1:0,2"},
		},
		{
			name:   "a zombie against the owner: the higher generation keeps all of it",
			counts: "T:2 T.1:2",
			members: []participant{
				{id: "a", subs: "T T.1", owns: "T:0,1 T.1:0,1", gen: 7},
				{id: "b", subs: "T T.1", owns: "T:0 T.1:0", gen: 9},
			},
			want: map[string]string{"b": "T:0 T.1:0"}, // T-1 is the zombie's to give up first
		},
		{
			name:   "a static zombie against the owner: as well",
			counts: "T:2 T.1:2",
			members: []participant{
				{id: "a", instance: "i", subs: "T T.1", owns: "T:0 T.1:0", gen: 7},
				{id: "b", subs: "T T.1", owns: "T:0 T.1:0", gen: 9},
			},
			want: map[string]string{"a": "T:1 T.1:1", "b": "T:0 T.1:0"},
		},
		{
			name:   "two claims of one generation: both let go",
			counts: "T:2 T.1:2",
			members: []participant{
				{id: "a", subs: "T T.1", owns: "T:0,1 T.1:0", gen: 9},
				{id: "b", subs: "T T.1", owns: "T:0 T.1:0", gen: 9},
			},
			want: map[string]string{"a": "T:1 T.1:1"},
		},
		{
			name:    "a dynamic member that missed a generation gives up first",
			counts:  "T:2",
			members: []participant{{id: "a", subs: "T", owns: "T:0", gen: 8}},
			want:    map[string]string{"a": "T:1"},
		},
		{
			name:   "a claim from a generation still to come is one of another life",
			counts: "T:2",
			members: []participant{
				{id: "a", subs: "T", owns: "T:0", gen: 57},
				{id: "b", instance: "i", subs: "T", owns: "T:1", gen: 57},
			},
		},
		{
			name:   "a static member is presented with an older generation while it is down",
			counts: "T:2",
			members: []participant{
				{id: "a", instance: "i", subs: "T", owns: "T:1", gen: 7},
				{id: "b", subs: "T", owns: "T:0", gen: 9},
			},
			want: map[string]string{"a": "T:1", "b": "T:0"},
		},
		{
			name:   "a restarted static member claims nothing and gets its number back",
			counts: "T:4",
			members: []participant{
				{id: "z-new", instance: "i", subs: "T"},
				{id: "a", subs: "T", owns: "T:0,2", gen: 9},
			},
			want: map[string]string{"z-new": "T:1,3", "a": "T:0,2"},
		},
		{
			name:   "static members win ties, in the order of their instance ids",
			counts: "T:2",
			members: []participant{
				{id: "a", subs: "T"},
				{id: "b", instance: "2", subs: "T"},
				{id: "c", instance: "1", subs: "T"},
			},
			want: map[string]string{"c": "T:0", "b": "T:1"},
		},
		{
			name:   "a new tier moves nothing; who does not know it yet does not get it",
			counts: "T:4 T.1:4",
			members: []participant{
				{id: "a", subs: "T T.1", owns: "T:0,1", gen: 9},
				{id: "b", subs: "T", owns: "T:2,3", gen: 9},
			},
			want: map[string]string{"a": "T:0,1 T.1:0,1", "b": "T:2,3"},
		},
		{
			name:    "tier partitions beyond the job topic's belong to nobody",
			counts:  "T:2 T.1:4",
			members: []participant{{id: "a", subs: "T T.1", owns: "T.1:3", gen: 9}},
			want:    map[string]string{"a": "T:0,1 T.1:0,1"},
		},
		{
			name:    "a tier that is too short does not hold up its tasks",
			counts:  "T:4 T.1:2",
			members: []participant{{id: "a", subs: "T T.1"}},
			want:    map[string]string{"a": "T:0,1,2,3 T.1:0,1"},
		},
		{
			name:    "tiers without their job topic belong to nobody",
			counts:  "T:2 T.1:2",
			members: []participant{{id: "a", subs: "T.1", owns: "T.1:0", gen: 9}},
		},
		{
			name:   "a leader that does not know the job topic leaves all as it is, and moves nothing",
			counts: "T.1:5",
			members: []participant{
				{id: "a", subs: "T T.1", owns: "T:0,3 T.1:0,3", gen: 9},
				{id: "b", subs: "T T.1", owns: "T:1,4 T.1:1,4", gen: 9},
				{id: "c", subs: "T T.1"},
			},
			want: map[string]string{"a": "T:0,3 T.1:0,3", "b": "T:1,4 T.1:1,4"},
		},
		{
			name:   "tasks of an unknown job topic count, but only others move",
			counts: "U:2",
			members: []participant{
				{id: "a", subs: "T U", owns: "T:0,1,2,3 U:0,1", gen: 9},
				{id: "b", subs: "T U"},
			},
			want: map[string]string{"a": "T:0,1,2,3"}, // U is on its way to b
		},
		{
			name:   "tasks of an unknown job topic that nobody has count for nobody",
			counts: "U:1",
			members: []participant{
				{id: "a", subs: "T U", owns: "T:1", gen: 9},
				{id: "b", subs: "T U"},
			},
			want: map[string]string{"a": "T:1", "b": "U:0"},
		},
		{
			name:   "a leader that does not know the tier leaves it where its tasks stay, and gives out no more of it",
			counts: "T:3",
			members: []participant{
				{id: "a", subs: "T T.1", owns: "T:0,1 T.1:0", gen: 9},
				{id: "b", subs: "T T.1", gen: 9},
			},
			want: map[string]string{"a": "T:0,1 T.1:0", "b": "T:2"},
		},
		{
			name:   "not knowing the job topic settles double claims all the same",
			counts: "U:1",
			members: []participant{
				{id: "a", subs: "T", owns: "T:0,1", gen: 7},
				{id: "b", subs: "T", owns: "T:0", gen: 9},
			},
			want: map[string]string{"b": "T:0"},
		},
		{
			name:   "who no longer consumes the job topic loses its tasks",
			counts: "T:2",
			members: []participant{
				{id: "a", subs: "U", owns: "T:0", gen: 9},
				{id: "b", subs: "T", owns: "T:1", gen: 9},
			},
			want: map[string]string{"b": "T:1"},
		},
		{
			name:    "who no longer consumes a tier loses that only",
			counts:  "T:2 T.1:2",
			members: []participant{{id: "a", subs: "T", owns: "T:0,1 T.1:0,1", gen: 9}, {id: "b", subs: "U", gen: 9}},
			want:    map[string]string{"a": "T:0,1"},
		},
		{
			name:   "a task split by another balancer goes to who has most of it",
			counts: "T:2 T.1:2 T.2:2",
			members: []participant{
				{id: "a", subs: "T T.1 T.2", owns: "T:0,1 T.2:1", gen: 9},
				{id: "b", subs: "T T.1 T.2", owns: "T.1:0,1 T.2:0", gen: 9},
			},
			want: map[string]string{"a": "T:1 T.2:1", "b": "T.1:0 T.2:0"},
		},
		{
			name:   "of equal parts, the newer claim",
			counts: "T:1 T.1:1",
			members: []participant{
				{id: "a", instance: "i", subs: "T T.1", owns: "T:0", gen: 7},
				{id: "b", subs: "T T.1", owns: "T.1:0", gen: 9},
			},
			want: map[string]string{"b": "T.1:0"},
		},
		{
			name:   "of equal parts and generations, the first member",
			counts: "T:1 T.1:1",
			members: []participant{
				{id: "b", subs: "T T.1", owns: "T:0", gen: 9},
				{id: "a", subs: "T T.1", owns: "T.1:0", gen: 9},
			},
			want: map[string]string{"a": "T.1:0"},
		},
		{
			name:   "of equally loaded members, the one with fewer tasks of that job topic",
			counts: "T:3 U:2",
			members: []participant{
				{id: "a", subs: "T U", owns: "T:0,1", gen: 9},
				{id: "b", subs: "T U", owns: "U:0,1", gen: 9},
			},
			want: map[string]string{"a": "T:0,1", "b": "T:2 U:0,1"},
		},
		{
			name:   "several job topics are balanced together",
			counts: "T:3 U:3",
			members: []participant{
				{id: "a", subs: "T U"}, {id: "b", subs: "T U"},
			},
			want: map[string]string{"a": "T:0,1 U:0", "b": "T:2 U:1,2"},
		},
		{
			name:   "of several job topics a join takes from each",
			counts: "T:4 U:4",
			members: []participant{
				{id: "a", subs: "T U", owns: "T:0,1,2,3 U:0,1,2,3", gen: 9},
				{id: "b", subs: "T U"},
			},
			want: map[string]string{"a": "T:0,1 U:0,1"},
		},
		{
			name:   "different subscriptions: each task with somebody who consumes it",
			counts: "T:2 U:4",
			members: []participant{
				{id: "a", subs: "T"}, {id: "b", subs: "T U"},
			},
			want: map[string]string{"a": "T:0,1", "b": "U:0,1,2,3"},
		},
		{
			name:   "different subscriptions: a chain of two moves evens out the ends",
			counts: "T:4 U:1",
			members: []participant{
				{id: "a", subs: "T", owns: "T:0,1,2", gen: 9},
				{id: "b", subs: "T U", owns: "T:3 U:0", gen: 9},
				{id: "c", subs: "U", gen: 9},
			},
			want: map[string]string{"a": "T:0,1", "b": "T:3"}, // T-2 goes a->b, U-0 b->c
		},
		{
			// V-0 to d is enough. Evening out one member after the other would take T-0 from c, too.
			name:   "different subscriptions: no needless move",
			counts: "T:2 U:2 V:1",
			members: []participant{
				{id: "a", subs: "T"},
				{id: "b", subs: "T U V", owns: "U:0 V:0", gen: 9},
				{id: "c", subs: "T U", owns: "T:0 U:1", gen: 9},
				{id: "d", subs: "V"},
			},
			want: map[string]string{"a": "T:1", "b": "U:0", "c": "T:0 U:1"},
		},
		{
			name:   "claims on what does not exist are ignored",
			counts: "T:1",
			members: []participant{
				{id: "a", subs: "T", owns: "T:-1,0,7 X:1 T.9:0", gen: 9},
			},
			want: map[string]string{"a": "T:0"},
		},
		{name: "nobody there", counts: "T:2"},
		{name: "nothing there", members: []participant{{id: "a", subs: "T"}}},
		{name: "nothing wanted", counts: "T:2", members: []participant{{id: "a"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := plan(t, 10, parseCounts(tt.counts), tt.members)
			for _, m := range tt.members {
				if want := normal(tt.want[m.id]); got[m.id] != want {
					t.Errorf("%s gets %q, want %q", m.id, got[m.id], want)
				}
			}
		})
	}
}
