package gateway

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/cpim"
)

// The form of an operation in the journal. It is JSON, so that a later version reads what an earlier one wrote and an operator can look at
// it; names are never reused for another meaning. A version that a release does not know is kept and not touched.
const journalVersion = 1

var errVersion = errors.New("gateway: an entry of another version of the journal")

type storedParty struct {
	Address  string `json:"a"`
	Instance string `json:"i,omitempty"`
}

type storedText struct {
	Lang string `json:"l,omitempty"`
	Text string `json:"t"`
}

type storedLink struct {
	URL         string    `json:"url"`
	Name        string    `json:"name,omitempty"`
	Description string    `json:"desc,omitempty"`
	Type        string    `json:"type,omitempty"`
	Size        int64     `json:"size,omitempty"`
	Expires     time.Time `json:"exp,omitzero"`
}

// storedMessage is a MessageOp with what the gateway needs beside it.
type storedMessage struct {
	Version int    `json:"v"`
	Op      string `json:"op"`
	Side    string `json:"side"` // the adapter it came through
	Peer    string `json:"peer,omitempty"`

	From         storedParty  `json:"from"`
	To           storedParty  `json:"to"`
	Kind         uint8        `json:"kind,omitempty"`
	Thread       string       `json:"thread,omitempty"`
	ParentThread string       `json:"parent,omitempty"`
	TransID      string       `json:"id,omitempty"`    // as it is handed on
	Given        string       `json:"given,omitempty"` // as its sender calls it
	Subjects     []storedText `json:"subj,omitempty"`
	Alternatives []storedText `json:"alt,omitempty"`
	Type         string       `json:"type"`
	Language     string       `json:"lang,omitempty"`
	Octets       []byte       `json:"body"`
	SenderName   string       `json:"name,omitempty"`
	Links        []storedLink `json:"links,omitempty"`
	OriginID     string       `json:"origin,omitempty"`
	Object       []byte       `json:"object,omitempty"`
	Sent         time.Time    `json:"sent,omitzero"`
	Hops         int          `json:"hops"`
	Wants        uint8        `json:"wants,omitempty"`
	Expires      time.Time    `json:"exp,omitzero"`
	Trace        []string     `json:"trace,omitempty"`
	Signature    uint8        `json:"sig,omitempty"`
	// Copy is what its copies share, octets as they are.
	Copy []byte `json:"copy,omitempty"`
}

// storedNotice is a Report on its way to the sender of a message, and the adapter that it goes to.
type storedNotice struct {
	Version int    `json:"v"`
	Op      string `json:"op"`
	Side    string `json:"side"`

	Kind       uint8       `json:"kind"`
	Sender     storedParty `json:"sender"`
	Recipient  storedParty `json:"rcpt"`
	TransID    string      `json:"id,omitempty"`
	Thread     string      `json:"thread,omitempty"`
	Wants      uint8       `json:"wants,omitempty"`
	Sent       time.Time   `json:"sent,omitzero"`
	Time       time.Time   `json:"time,omitzero"`
	Reason     string      `json:"reason,omitempty"`
	Text       string      `json:"text,omitempty"`
	Remote     string      `json:"remote,omitempty"`
	NewAddress string      `json:"new,omitempty"`
	Code       int         `json:"code,omitempty"`
	// ID is the notice's own, Settles the key of the outcome that it tells.
	ID      string `json:"nid,omitempty"`
	Settles string `json:"settles,omitempty"`
}

func storeParty(p adapters.Party) storedParty {
	return storedParty{Address: p.Address.String(), Instance: p.Instance}
}

func (s storedParty) party() (adapters.Party, error) {
	a, err := cpim.ParseAddress(s.Address)
	return adapters.Party{Address: a, Instance: s.Instance}, err
}

func storeTexts(list []adapters.LangText) []storedText {
	var out []storedText
	for _, t := range list {
		out = append(out, storedText(t))
	}
	return out
}

func texts(list []storedText) []adapters.LangText {
	var out []adapters.LangText
	for _, t := range list {
		out = append(out, adapters.LangText(t))
	}
	return out
}

// encodeMessage writes op, which came from side and was called given by its sender.
func encodeMessage(op *adapters.MessageOp, side, given string) ([]byte, error) {
	m := storedMessage{
		Version: journalVersion, Op: op.ID, Side: side, Peer: op.Peer.Name, From: storeParty(op.From), To: storeParty(op.To), Kind: uint8(op.Kind),
		Thread: op.Thread, ParentThread: op.ParentThread, TransID: op.TransID, Given: given, Subjects: storeTexts(op.Subjects),
		Alternatives: storeTexts(op.Alternatives), Type: op.Content.Type, Language: op.Content.Language, Octets: op.Content.Octets,
		SenderName: op.SenderName, OriginID: op.OriginID, Object: op.Object, Sent: op.Sent, Hops: op.Hops,
		Wants: uint8(op.Wants), Expires: op.Expires, Copy: []byte(op.Copy), Trace: op.Trace, Signature: uint8(op.Signature),
	}
	for _, l := range op.Links {
		m.Links = append(m.Links, storedLink{l.URL, l.Name, l.Description, l.Type, l.Size, l.Expires})
	}
	return json.Marshal(&m)
}

// checkVersion returns errVersion for an entry of another version. It is looked at alone, and first: in another version everything else may
// have another form.
func checkVersion(octets []byte) error {
	if bytes.HasPrefix(octets, []byte(`{"v":1,`)) {
		return nil // as this version writes it
	}
	var only struct {
		Version int `json:"v"`
	}
	if err := json.Unmarshal(octets, &only); err != nil {
		return fmt.Errorf("gateway: an entry of the journal: %w", err)
	}
	if only.Version != journalVersion {
		return errVersion
	}
	return nil
}

// decodeMessage reads what encodeMessage wrote.
func decodeMessage(octets []byte) (*storedMessage, *adapters.MessageOp, error) {
	var m storedMessage
	if err := checkVersion(octets); err != nil {
		return nil, nil, err
	}
	if err := json.Unmarshal(octets, &m); err != nil {
		return nil, nil, fmt.Errorf("gateway: a message in the journal: %w", err)
	}
	op := &adapters.MessageOp{
		ID: m.Op, Peer: adapters.Peer{Adapter: m.Side, Name: m.Peer}, Kind: adapters.MessageKind(m.Kind), Thread: m.Thread, ParentThread: m.ParentThread,
		TransID: m.TransID, Subjects: texts(m.Subjects), Alternatives: texts(m.Alternatives),
		Content: adapters.Content{Type: m.Type, Language: m.Language, Octets: m.Octets}, SenderName: m.SenderName, OriginID: m.OriginID,
		Object: m.Object, Sent: m.Sent, Hops: m.Hops, Wants: adapters.Dispositions(m.Wants), Expires: m.Expires,
		Copy: string(m.Copy), Trace: m.Trace, Signature: adapters.Signature(m.Signature),
	}
	if len(m.Object) == 0 {
		op.Object = nil
	}
	for _, l := range m.Links {
		op.Links = append(op.Links, adapters.Link{URL: l.URL, Name: l.Name, Description: l.Description, Type: l.Type, Size: l.Size, Expires: l.Expires})
	}
	var err, err2 error
	op.From, err = m.From.party()
	op.To, err2 = m.To.party()
	if err = errors.Join(err, err2); err != nil {
		return nil, nil, fmt.Errorf("gateway: a message in the journal: %w", err)
	}
	return &m, op, nil
}

// encodeNotice writes r, which goes to side and tells the outcome of key settles.
func encodeNotice(r *adapters.Report, op, side, settles string) ([]byte, error) {
	return json.Marshal(&storedNotice{
		Version: journalVersion, Op: op, Side: side, Kind: uint8(r.Kind), Sender: storeParty(r.Sender), Recipient: storeParty(r.Recipient),
		TransID: r.TransID, Thread: r.Thread, Wants: uint8(r.Wants), Sent: r.Sent, Time: r.Time, Reason: r.Status.Reason.String(),
		Text: r.Status.Text, Remote: r.Status.Remote, NewAddress: r.Status.NewAddress, Code: r.Status.Code,
		ID: r.ID, Settles: settles,
	})
}

// decodeNotice reads what encodeNotice wrote.
func decodeNotice(octets []byte) (*storedNotice, *adapters.Report, error) {
	var n storedNotice
	if err := checkVersion(octets); err != nil {
		return nil, nil, err
	}
	if err := json.Unmarshal(octets, &n); err != nil {
		return nil, nil, fmt.Errorf("gateway: a notice in the journal: %w", err)
	}
	r := &adapters.Report{
		Kind: adapters.ReportKind(n.Kind), TransID: n.TransID, Thread: n.Thread, Wants: adapters.Dispositions(n.Wants), Sent: n.Sent, Time: n.Time,
		ID: n.ID,
	}
	if r.Kind == adapters.ReportFailed {
		r.Status = adapters.Status{
			Outcome: adapters.Failure, Reason: reasonNamed(n.Reason), Text: n.Text, Remote: n.Remote, NewAddress: n.NewAddress, Code: n.Code,
		}
	}
	var err, err2 error
	r.Sender, err = n.Sender.party()
	r.Recipient, err2 = n.Recipient.party()
	if err = errors.Join(err, err2); err != nil {
		return nil, nil, fmt.Errorf("gateway: a notice in the journal: %w", err)
	}
	return &n, r, nil
}

// reasonNamed is the reason of this name; one that this version does not know is ReasonUndefined.
func reasonNamed(name string) adapters.Reason {
	for _, r := range adapters.Reasons() {
		if r.String() == name {
			return r
		}
	}
	return adapters.ReasonUndefined
}
