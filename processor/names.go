package processor

import "maps"

// Names maps every name a job may bear, aliases included, to its processor. The map is the caller's own.
func (s *Set) Names() map[string]*Processor { return maps.Clone(s.byName) }
