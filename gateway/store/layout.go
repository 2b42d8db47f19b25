package store

import "strings"

// layout is where things are on the engine: the stream of the journal and the bucket of facts. On a cluster an entry and its progress are
// messages of two subjects, of which the engine keeps the last, so that each node can read the parts that are its own: what is removed is
// replaced by a mark that it is gone. So everything that happens to entries is a publish, and is synced together with what else happens; the
// janitor clears what nothing needs any more.
type layout struct {
	journal, facts  string
	entry, progress string // prefixes of subjects
	barrier         string // likewise, behind one of the two
}

// alone is the layout of a node without a cluster.
var alone = layout{journal: journalStream, facts: factsBucket, entry: entrySubject, progress: progressPrefix}

// of is the layout of a cluster of this name, which may have its servers for itself or share them with others.
func of(cluster string) layout {
	return layout{journal: cluster + "-journal", facts: cluster + "-facts", entry: cluster + ".e.", progress: cluster + ".p.", barrier: "b."}
}

// fact is the subject of a fact.
func (l *layout) fact(key string) string { return "$KV." + l.facts + "." + key }

// split is the prefix, the part and the ID of a subject of the journal.
func (l *layout) split(s string) (prefix string, part int, id ID) {
	if prefix = l.progress; strings.HasPrefix(s, l.entry) {
		prefix = l.entry
	}
	// The prefix of a subject without a cluster is of the length of the last of this one's.
	part, id = ofSubject(entrySubject + strings.TrimPrefix(s, prefix))
	return prefix, part, id
}
