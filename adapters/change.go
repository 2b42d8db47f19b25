package adapters

// Change is a new configuration that an adapter, or the gateway, has checked while it goes on with the old one: what could fail has been
// tried. Exactly one of Commit and Discard is called, once.
type Change struct{ commit, discard func() }

// NewChange makes one. discard releases what was opened for it; nil for nothing.
func NewChange(commit, discard func()) Change { return Change{commit, discard} }

// Commit takes the new configuration on, at once and without fail.
func (c Change) Commit() {
	if c.commit != nil {
		c.commit()
	}
}

// Discard leaves everything as it was.
func (c Change) Discard() {
	if c.discard != nil {
		c.discard()
	}
}
