package store

import (
	"cmp"
	"slices"

	"github.com/nats-io/nats.go"
)

// kept is a message of the journal of a cluster: an entry, its progress, or the mark that one of them is gone.
type kept struct {
	subject string
	seq     uint64
	gone    bool
	header  nats.Header
	data    []byte
}

// newest reads the last message of each subject from copies of a log that may be behind, and while others write. A copy that is behind delivers what was
// replaced before what has replaced it, so that no message is known to be the last one until all are read; and what the janitor writes anew meanwhile comes
// after the end of a reading that has not come to its old place yet. So it is read twice, first without what is in the messages. (The janitor comes to an entry
// again when more than half of the log is younger: not within two readings.)
type newest struct {
	// index reads without the messages' data, and read reads all of them. They call the function for each message, in order, and return the sequence that they read to.
	index, read func(func(kept) error) (until uint64, err error)
	// last is the last message of a subject as the log's leader has it. gone: there is none, or a mark.
	last func(subject string) (kept, error)
}

// each calls f for the last message of each subject unless it is a mark, once all that was acknowledged before is read; again tells that f has been called for an
// older message of the subject, which had not been replaced when the reading began. It ends with f's first error. Some 100 octets a subject are held meanwhile.
func (n newest) each(f func(m kept, again bool) error) error {
	const given = 0 // the place of what f was called for
	places := map[string]uint64{}
	until, err := n.index(func(m kept) error {
		if m.gone {
			delete(places, m.subject)
		} else {
			places[m.subject] = m.seq
		}
		return nil
	})
	if err != nil {
		return err
	}
	late := map[string]kept{}
	_, err = n.read(func(m kept) error {
		at, known := places[m.subject]
		switch {
		case m.seq < until && known && at == m.seq:
			places[m.subject] = given
			return f(m, false)
		case m.seq < until: // replaced
		case m.gone:
			delete(late, m.subject)
			if at != given {
				delete(places, m.subject)
			}
		default:
			late[m.subject] = m
		}
		return nil
	})
	if err != nil {
		return err
	}
	var rest []kept
	for subject, at := range places {
		if _, ok := late[subject]; at == given || ok {
			continue
		}
		// It was replaced while it was read, behind the end of the reading.
		m, err := n.last(subject)
		if err != nil {
			return err
		}
		if !m.gone {
			rest = append(rest, m)
		}
	}
	for _, m := range late {
		rest = append(rest, m)
	}
	slices.SortFunc(rest, func(a, b kept) int { return cmp.Compare(a.seq, b.seq) })
	for _, m := range rest {
		at, known := places[m.subject]
		if err := f(m, known && at == given); err != nil {
			return err
		}
	}
	return nil
}
