package faults

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"time"
)

// watchOf is a dialog in which romeo watches juliet. The couple's mu guards it.
type watchOf struct {
	callID, tag, remoteTag string
	target                 target
	cseq, remote           int
	expires, refreshAt     time.Time
	made                   bool
	// heard is what the last NOTIFY said that was accepted, document the last document while the watch was active; unaware that whoever has the dialog now
	// took it up and has not told a document since. askedAt is when something was last asked of the gateway, or answered by it.
	heard, document string
	unaware         bool
	askedAt         time.Time
	asking          bool // a SUBSCRIBE is under way
}

func (u *presenceAgents) wish(c *couple, r *rand.Rand) {
	if _, down := u.state(); down {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.wants && r.IntN(6) > 0 {
		return
	}
	c.wants, c.wantsAt = !c.wants, time.Now()
	c.counts.Offered++
	c.note("romeo wants to see juliet: %v", c.wants)
}

// live keeps up romeo's watch of juliet, or ends it.
func (u *presenceAgents) live(c *couple) {
	for {
		select {
		case <-u.ended:
			return
		case <-time.After(25 * time.Millisecond):
		}
		life, down := u.state()
		if down {
			continue
		}
		c.mu.Lock()
		w, now := c.watch, time.Now()
		expires := time.Duration(-1)
		switch {
		case w == nil && c.wants:
			w = &watchOf{callID: fmt.Sprintf("c%d-%d", c.number, rand.Uint64()), tag: fmt.Sprintf("w%d", rand.Uint64())}
			c.watch, c.seen = w, ""
			expires = watchedFor
		case w == nil:
		case !c.wants:
			expires = 0
		case now.After(w.refreshAt):
			expires = watchedFor
		}
		if expires < 0 {
			c.mu.Unlock()
			continue
		}
		w.cseq++
		w.askedAt, w.asking, c.asking = now, true, expires > 0
		uri, port := "sip:"+c.juliet, 0
		if w.target.uri != "" {
			uri, port = w.target.uri, w.target.port()
		}
		to := ""
		if w.remoteTag != "" {
			to = ";tag=" + w.remoteTag
		}
		head := fmt.Sprintf("From: <sip:%s>;tag=%s\r\nTo: <sip:%s>%s\r\nCall-ID: %s\r\nCSeq: %d SUBSCRIBE\r\nEvent: presence\r\nAccept: application/pidf+xml\r\nExpires: %d\r\nContent-Length: 0\r\n\r\n",
			c.romeo, w.tag, c.juliet, to, w.callID, w.cseq, int(expires/time.Second))
		c.note("romeo says SUBSCRIBE %d of %s, Expires %v", w.cseq, w.callID, expires)
		c.mu.Unlock()
		answer, _ := u.ask("SUBSCRIBE", uri, port, head, 32*time.Second)
		c.mu.Lock()
		code := codeOf(answer)
		c.note("the gateway answers %d", code)
		now = time.Now()
		w.askedAt, w.asking = now, false
		if c.asking && !c.wants {
			c.wantsAt = now
		}
		c.asking = false
		again, _ := u.state()
		switch {
		case again != life || c.watch != w:
		case expires == 0 && (code == 0 || code < 500): // 200, and its NOTIFY may still come; or there is none
			c.watch, c.seen = nil, ""
			c.wantsAt = now
		case code == 200:
			if w.remoteTag == "" {
				w.remoteTag = part(tagPart, header(answer, "To"))
			}
			w.target.refresh(part(uriPart, header(answer, "Contact")))
			w.made, w.expires, w.refreshAt = true, now.Add(expires), now.Add(expires/2)
		case code == 403 || code == 404 || code == 489 || code == 603:
			c.watch, c.seen, c.wants, c.wantsAt = nil, "", false, now
		case !w.made || code == 481 || now.After(w.expires):
			c.watch, c.seen = nil, "" // another one, soon
		default:
			w.refreshAt = now.Add(time.Second)
		}
		c.mu.Unlock()
	}
}

// notified is a NOTIFY of the gateway's, of juliet; it returns the code of the response.
func (c *couple) notified(text string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, body, _ := strings.Cut(text, "\r\n\r\n")
	state := header(text, "Subscription-State")
	c.note("romeo hears NOTIFY %d of %s: %s %.40q", cseqOf(text), header(text, "Call-ID"), state, part(notePart, body))
	w, remote := c.watch, part(tagPart, header(text, "From"))
	if w == nil || w.callID != header(text, "Call-ID") || w.tag != part(tagPart, header(text, "To")) || w.remoteTag != "" && w.remoteTag != remote {
		return 481
	}
	if cseqOf(text) <= w.remote {
		c.broke("P4: NOTIFY %d came after %d", cseqOf(text), w.remote)
		return 500
	}
	if w.remoteTag == "" { // before the answer to the SUBSCRIBE (RFC 6665 §4.4.1)
		w.remoteTag, w.made = remote, true
		w.expires, w.refreshAt = time.Now().Add(watchedFor), time.Now().Add(watchedFor/2)
	}
	taken := cseqOf(text) > w.remote+1 // numbers are left out by who has them from the store alone
	w.remote = cseqOf(text)
	moved := w.target.refresh(part(uriPart, header(text, "Contact")))
	if moved {
		c.note("%s has moved to %s", w.callID, w.target.uri)
	}
	c.repeated(w, said(state, body), moved || taken)
	c.counts.Notified++
	switch {
	case strings.HasPrefix(state, "terminated"):
		c.watch, c.seen = nil, ""
		if strings.Contains(state, "rejected") || strings.Contains(state, "noresource") {
			c.wants, c.wantsAt = false, time.Now()
		}
	case strings.HasPrefix(state, "pending"):
		if c.seen = ""; body != "" {
			c.broke("P3: presence while %s has not decided", c.juliet)
		}
	case body != "":
		if c.seen = ""; strings.Contains(body, ">open<") {
			c.seen = part(notePart, body)
		}
	}
	return 200
}

// said is what a NOTIFY says, but for its times.
func said(state, body string) string {
	state, _, _ = strings.Cut(state, ";")
	return state + timestamps.ReplaceAllString(body, "")
}

var timestamps = regexp.MustCompile(`<(?:\w+:)?timestamp>[^<]*<`)

// repeated takes in what a NOTIFY said: one says what the one before it did, or the document that the watcher was told last, only where something was asked
// meanwhile, or where a gateway has taken the dialog up, which cannot know what was said (P5). c.mu is held.
//
// Judgement of "may be told once more": issue 8 wants no NOTIFY twice, and a gateway that was killed between the answer to a NOTIFY and its next write
// leaves nobody who knows of it, so one document for each time that the dialog is taken up cannot be called wrong. It is one, not any: the number that was
// left out, or the new Contact, is seen in the first NOTIFY alone, and what it allows is used up by the first document, also where the first NOTIFY had
// none. A real double, the same request sent anew by two gateways, has a number that is no gap, or that P4 has had before. What an orderly hand-over
// repeats is allowed here too, although its record says what the watcher knows: a NOTIFY under way in that moment is not in it.
func (c *couple) repeated(w *watchOf, what string, moved bool) {
	w.unaware = w.unaware || moved
	state, _, document := strings.Cut(what, "<")
	again := !document && what == w.heard && !moved && c.settled(c.spokeAt)
	if document {
		again = what == w.document && !w.unaware
	}
	if c.unique && again && !w.asking && c.answered(w.askedAt) {
		c.broke("P5: NOTIFY %d of %s says again what was said, and nobody asked", w.remote, w.callID)
	}
	w.heard = what
	switch {
	case state != "active":
		w.document = ""
	case document:
		w.document, w.unaware = what, false
	}
}
