package cpim

// Leniency names one fault of deployed software that ParseMessageLenient
// forgives. Each has a test with the product's own octets.
type Leniency uint16

const (
	// OuterHeaders forgives MIME headers of the object itself, ending in a
	// blank line, in front of the message headers.
	// COMPAT(liblinphone, 3.12): its Cpim module wrote and read
	// "Content-type: Message/CPIM" inside the body.
	OuterHeaders Leniency = 1 << iota
	// QuotedNameSpace forgives a space between a quoted formal name and "<".
	// COMPAT(python-sipsimple, Blink and SylkServer; Orange/GSMA RCS stack).
	QuotedNameSpace
	// NameWithoutSpace forgives a formal name of tokens directly before "<".
	// COMPAT(ZTE RCS IM server 2015; Mavenir RCS).
	NameWithoutSpace
	// UnquotedName forgives characters in an unquoted formal name that no
	// token may have.
	// COMPAT(python-sipsimple, 0.x): it wrote display names as they were.
	UnquotedName
	// BareNumber forgives a telephone number in place of "<" URI ">"; it is
	// read as a tel: URI.
	// COMPAT(Orange/GSMA RCS message store).
	BareNumber
	// JoinedContentHeaders forgives content headers that follow the message
	// headers without a blank line between.
	// COMPAT(ZTE RCS IM server 2015; Android TestRcsApp): and all that follow
	// the examples of RFC 5438, each of which has this fault.
	JoinedContentHeaders
	// ExtraSpace forgives more than one space after the colon.
	// COMPAT(CPM-serv/OMA2.2 RCS-serv/UP_2.3).
	ExtraSpace
	// UndeclaredIMDN forgives the prefix "imdn" without its NS header; it is
	// taken to be urn:ietf:params:imdn.
	// COMPAT(Orange/GSMA RCS message store).
	UndeclaredIMDN
)

// AllLeniencies is every known fault.
const AllLeniencies = UndeclaredIMDN<<1 - 1

// leniencyFacts is the name and the product of each fault, in bit order. It is
// never written to.
var leniencyFacts = [...]struct{ name, product string }{
	{"outer-headers", "liblinphone 3.12"},
	{"quoted-name-space", "python-sipsimple (Blink, SylkServer), Orange/GSMA RCS stack"},
	{"name-without-space", "ZTE RCS IM server, Mavenir RCS"},
	{"unquoted-name", "python-sipsimple 0.x"},
	{"bare-number", "Orange/GSMA RCS message store"},
	{"joined-content-headers", "ZTE RCS IM server, Android TestRcsApp"},
	{"extra-space", "CPM-serv/OMA2.2 RCS-serv/UP_2.3"},
	{"undeclared-imdn", "Orange/GSMA RCS message store"},
}

// Names returns the stable short name of each fault in l.
func (l Leniency) Names() []string {
	var names []string
	for i, f := range leniencyFacts {
		if l&(1<<i) != 0 {
			names = append(names, f.name)
		}
	}
	return names
}

// Products returns, beside each of Names, the software known to need it.
func (l Leniency) Products() []string {
	var products []string
	for i, f := range leniencyFacts {
		if l&(1<<i) != 0 {
			products = append(products, f.product)
		}
	}
	return products
}

// leniencies is what a lenient reader allows and what it has needed so far. A
// nil one allows nothing.
type leniencies struct{ allowed, used Leniency }

func (l *leniencies) allow(f Leniency) bool {
	if l == nil || l.allowed&f == 0 {
		return false
	}
	l.used |= f
	return true
}
