package store

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// copied is a log of which a reader has a copy that is behind: the last message of each subject replaces those before it where the copy has come to it.
type copied struct {
	r   *rand.Rand
	log []kept // seq is the place, from 1
	has int    // how much of it the copy has
}

func (c *copied) write(subject string, gone bool, data string) {
	c.log = append(c.log, kept{subject: subject, seq: uint64(len(c.log) + 1), gone: gone, data: []byte(data)})
}

// newest is the last message of a subject among the first n.
func (c *copied) newest(subject string, n int) kept {
	for _, m := range slices.Backward(c.log[:n]) {
		if m.subject == subject {
			return m
		}
	}
	return kept{subject: subject, gone: true}
}

// scan reads as node.scan does, from a copy that gets more of the log while it is read, and while something is written.
func (c *copied) scan(meanwhile func()) func(func(kept) error) (uint64, error) {
	return func(f func(kept) error) (uint64, error) {
		c.has = c.r.IntN(len(c.log) + 1) // another copy
		c.write("barrier", true, "")
		until := uint64(len(c.log))
		for at := 0; ; {
			if c.r.IntN(3) == 0 {
				meanwhile()
			}
			if c.r.IntN(4) == 0 {
				c.has += c.r.IntN(len(c.log) - c.has + 1)
			}
			at++
			if at > c.has {
				c.has = min(at, len(c.log)) // it waits for it
			}
			if at > len(c.log) || uint64(at) >= until {
				return until, nil
			}
			m := c.log[at-1]
			if c.newest(m.subject, c.has).seq != m.seq {
				continue // replaced
			}
			if err := f(m); err != nil {
				return until, err
			}
		}
	}
}

// What was gone before a replay is not replayed, and what is there is, though it is read from copies that are behind and though the janitor writes it anew
// meanwhile: what a node that takes over gets twice it sends twice, and what it does not get nobody sends.
func TestWhatIsReplayedFromACopyThatIsBehind(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	gave := 0
	for range 20_000 {
		c := &copied{r: r}
		subjects := make([]string, 1+r.IntN(6))
		for i := range subjects {
			subjects[i] = fmt.Sprint("s", i)
		}
		for range r.IntN(12) {
			c.write(subjects[r.IntN(len(subjects))], r.IntN(2) == 0, "before")
		}
		began := len(c.log)
		// The janitor writes anew what is there, once, and another node removes or marks.
		touched, renewed := map[string]bool{}, map[string]bool{}
		meanwhile := func() {
			s := subjects[r.IntN(len(subjects))]
			switch last := c.newest(s, len(c.log)); {
			case r.IntN(2) == 0 && !last.gone && !renewed[s]:
				renewed[s] = true
				c.write(s, false, string(last.data))
			case r.IntN(3) == 0:
				touched[s] = true
				c.write(s, r.IntN(2) == 0, "meanwhile")
			}
		}
		got := map[string][]string{}
		err := newest{index: c.scan(meanwhile), read: c.scan(meanwhile), last: func(s string) (kept, error) { return c.newest(s, len(c.log)), nil }}.
			each(func(m kept, again bool) error {
				if m.gone || again != (len(got[m.subject]) > 0) {
					t.Fatalf("%+v, again %v, after %q", m, again, got[m.subject])
				}
				got[m.subject] = append(got[m.subject], string(m.data))
				gave++
				return nil
			})
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range subjects {
			was := c.newest(s, began)
			switch {
			case touched[s]: // either is right
			case was.gone && len(got[s]) > 0:
				t.Fatalf("%s was gone, and is replayed as %q: %+v", s, got[s], c.log)
			case !was.gone && len(got[s]) == 0:
				t.Fatalf("%s was there, and is not replayed: %+v", s, c.log)
			}
		}
	}
	if gave < 20_000 {
		t.Errorf("only %d messages", gave)
	}
}
