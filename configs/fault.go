package configs

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// Fault is one thing wrong with a configuration: where, what, and what to write instead.
type Fault struct {
	// File is the name that was given to Parse or Load.
	File string
	// Line and Column are where it is, from 1.
	Line, Column int
	// Path is the key, as in "sip.listeners[0].address"; "" when the fault is in the YAML itself.
	Path string
	// Problem is what is wrong, and Instead what to write, perhaps "". Neither holds a secret.
	Problem string
	Instead string
}

// String is the fault in one line: "file:line:column: path: problem; instead".
func (f Fault) String() string {
	var b strings.Builder
	b.WriteString(f.File)
	b.WriteByte(':')
	b.WriteString(strconv.Itoa(f.Line))
	b.WriteByte(':')
	b.WriteString(strconv.Itoa(f.Column))
	b.WriteString(": ")
	if f.Path != "" {
		b.WriteString(f.Path)
		b.WriteString(": ")
	}
	b.WriteString(f.Problem)
	if f.Instead != "" {
		b.WriteString("; ")
		b.WriteString(f.Instead)
	}
	return b.String()
}

// Faults is every fault that was found, in the order of the file. It is the error of Parse, Load and ReadSecrets, and is never
// empty there.
type Faults []Fault

// Error is one fault a line.
func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i := range f {
		lines[i] = f[i].String()
	}
	return strings.Join(lines, "\n")
}

// err is f as an error, sorted, or nil if there is none.
func (f Faults) err() error {
	if len(f) == 0 {
		return nil
	}
	slices.SortStableFunc(f, func(a, b Fault) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return f
}

// valueFault is what the parse functions of the value types return.
type valueFault struct{ problem, instead string }

// quoted is s for a fault: in quotes, printable, cut, and without a password, which some write before a host (RFC 3986 §3.2.1) although no key
// takes one.
func quoted(s string) string {
	const most = 80
	s = withoutPassword(s)
	if len(s) > most {
		return strconv.QuoteToASCII(s[:most]) + "…"
	}
	return strconv.QuoteToASCII(s)
}

// schemes are those of addresses and next hops. What else stands before the first colon is a user's name as well as a scheme.
var schemes = []string{"im", "pres", "sip", "sips", "tcp", "tls", "unix", "xmpp"}

// withoutPassword is s with "[redacted]" for what stands between "//" and "@", or between the name of a user and "@".
func withoutPassword(s string) string {
	at := strings.LastIndexByte(s, '@')
	if at < 0 {
		return s
	}
	if slashes := strings.Index(s[:at], "//"); slashes >= 0 {
		return s[:slashes+2] + "[redacted]" + s[at:]
	}
	user := 0
	if scheme, _, ok := strings.Cut(s[:at], ":"); ok && slices.Contains(schemes, strings.ToLower(scheme)) {
		user = len(scheme) + 1
	}
	if name, _, ok := strings.Cut(s[user:at], ":"); ok {
		return s[:user+len(name)+1] + "[redacted]" + s[at:]
	}
	return s
}

// origin remembers where each value of a Config was written, so that later checks can name the line.
type origin struct {
	file string
	at   map[string]position
}

type position struct{ line, column int }

// fault makes a Fault at the value of path, or at the nearest thing around it that was written.
func (o *origin) fault(path string, v valueFault) Fault {
	p, ok := o.at[path]
	for around := path; !ok && around != ""; p, ok = o.at[around] {
		i := strings.LastIndexAny(around, ".[")
		around = around[:max(i, 0)]
	}
	if !ok {
		p = position{1, 1}
	}
	return Fault{File: o.file, Line: p.line, Column: p.column, Path: path, Problem: v.problem, Instead: v.instead}
}

// nearest returns the word of known that was probably meant by s, or "": at most two letters changed, added, lost or swapped,
// and fewer than half of them.
func nearest(s string, known []string) string {
	best, bestDistance := "", 3
	for _, k := range known {
		d := distance(strings.ToLower(s), k)
		if strings.EqualFold(strings.ReplaceAll(s, "-", "_"), k) || len(s) > 3 && (strings.HasPrefix(k, s) || strings.HasPrefix(s, k)) {
			d = 0
		}
		if d < bestDistance && 2*d < len(k) {
			best, bestDistance = k, d
		}
	}
	return best
}

// distance is the number of letters to change, add, drop or swap with their neighbour (Damerau, restricted).
func distance(a, b string) int {
	const most = 40
	if len(a) > most || len(b) > most {
		return most
	}
	var rows [3][most + 1]int
	for j := range len(b) + 1 {
		rows[1][j] = j
	}
	for i := 1; i <= len(a); i++ {
		rows[2][0] = i
		for j := 1; j <= len(b); j++ {
			change := rows[1][j-1]
			if a[i-1] != b[j-1] {
				change++
			}
			rows[2][j] = min(change, rows[1][j]+1, rows[2][j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[2][j] = min(rows[2][j], rows[0][j-2]+1)
			}
		}
		rows[0], rows[1] = rows[1], rows[2]
	}
	return rows[1][len(b)]
}
