package configs

import (
	"net"
	"path/filepath"
	"strconv"
	"strings"
)

// Cluster makes this gateway one of several that share a store: each takes any message, and what one has answered for another delivers when it
// goes away. Each of the nodes needs this file with its own name under node, and all else under store alike.
type Cluster struct {
	// This node's name: letters, digits, hyphens and underscores, at most 63. No other node has it. Without it there is no cluster.
	Node ClusterName `yaml:"node" example:"a"`
	// All nodes that keep what is stored, this one included, the same list on each. Three or five: most of them must be there for anything to be
	// stored, so that of three one may go away and of four no more. A node needs no side: one that only keeps copies is a gateway with a store
	// and without sip and xmpp.
	Nodes []ClusterNode `yaml:"nodes"`
	// Where this node listens for the others, and for nobody else. Without it: its address under nodes.
	Listen HostPort `yaml:"listen" example:"0.0.0.0:6222"`
	// On how many of the nodes everything is kept.
	Replicas Count `yaml:"replicas" default:"3" min:"1" max:"5"`
	// The certificate that this node shows the others and asks of them: PEM, with the host of its address under nodes in subjectAltName.
	// Needed unless all addresses are loopback addresses. A relative path starts at the folder of this file.
	ChainFile Path `yaml:"chain_file" example:"/etc/isthmus/node.crt"`
	// Its private key in PEM (mode 0600 or 0400).
	KeyFile Path `yaml:"key_file" example:"/etc/isthmus/node.key"`
	// The authority that the nodes' certificates must lead to, in PEM, and whose only purpose this is: whoever has a certificate of it for the
	// address of a node is a node.
	RootsFile Path `yaml:"roots_file" example:"/etc/isthmus/nodes.pem"`
	// The servers of a NATS cluster with JetStream that is there already, instead of nodes: "tls://HOST:PORT", or "nats://HOST:PORT" on a loopback
	// address. They must sync always ("sync_interval: always"), or what was acknowledged may be lost when the power fails. roots_file is of them then.
	URLs []ClusterURL `yaml:"urls" example:"tls://nats.example.net:4222"`
	// The file with the credentials for them (mode 0600 or 0400).
	CredentialsFile Path `yaml:"credentials_file" example:"/etc/isthmus/nats.creds"`
	// How long the start waits for so many nodes that something can be stored. Meanwhile the log says who is missing; after it the start has failed.
	Wait Duration `yaml:"wait" default:"10m" min:"1s" max:"24h"`
}

// ClusterNode is a node that keeps what is stored.
type ClusterNode struct {
	// Its name, as under node on it.
	Name ClusterName `yaml:"name" required:"true" example:"a"`
	// Where the others reach it: host and port.
	Address HostPort `yaml:"address" required:"true" example:"192.0.2.1:6222"`
}

// Used tells whether there is a cluster.
func (c *Cluster) Used() bool { return c.Node != "" }

// ClusterName is the name of a node.
type ClusterName string

func (n *ClusterName) parse(s string) *valueFault {
	bad := func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_')
	}
	if s == "" || len(s) > 63 || strings.ContainsFunc(s, bad) {
		return &valueFault{quoted(s) + " is no name of a node", "use letters, digits, hyphens and underscores, at most 63"}
	}
	*n = ClusterName(s)
	return nil
}

// HostPort is a host, by name or address, and a port.
type HostPort string

func (h *HostPort) parse(s string) *valueFault {
	host, port, err := net.SplitHostPort(s)
	if n, perr := strconv.ParseUint(port, 10, 16); err != nil || perr != nil || n == 0 || host == "" || strings.ContainsAny(host, " /@") {
		return &valueFault{quoted(s) + " is no host and port", "write as in 192.0.2.1:6222 or node-a.example.net:6222"}
	}
	*h = HostPort(s)
	return nil
}

// ClusterURL is a server of a cluster that is there already.
type ClusterURL string

func (u *ClusterURL) parse(s string) *valueFault {
	scheme, rest, ok := strings.Cut(s, "://")
	var h HostPort
	if fault := h.parse(rest); !ok || fault != nil || scheme != "tls" && (scheme != "nats" || !h.loopback()) {
		return &valueFault{quoted(s) + " is no server that can be used", "write as in tls://nats.example.net:4222; nats:// on a loopback address alone"}
	}
	*u = ClusterURL(s)
	return nil
}

// loopback tells whether only this machine reaches it.
func (h HostPort) loopback() bool {
	host, _, _ := net.SplitHostPort(string(h))
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// from makes relative paths start at folder.
func (c *Cluster) from(folder string) {
	for _, p := range []*Path{&c.ChainFile, &c.KeyFile, &c.RootsFile, &c.CredentialsFile} {
		if *p != "" && !filepath.IsAbs(string(*p)) {
			*p = Path(filepath.Join(folder, string(*p)))
		}
	}
}

// ClusterFault is a Fault at a file of store.cluster, for what is found when the file is read: key is chain_file, key_file or roots_file.
func (c *Config) ClusterFault(key, problem, instead string) Fault {
	return c.origin.fault("store.cluster."+key, valueFault{problem, instead})
}

func (k *checker) cluster() {
	const at = "store.cluster"
	c := &k.Store.Cluster
	if !c.Used() {
		if len(c.Nodes) > 1 || len(c.URLs) > 0 {
			k.fault(at+".node", "there are nodes, and none of them is this one", "write this node's name")
		}
		return
	}
	if len(c.URLs) > 0 {
		k.clusterOfServers()
		return
	}
	if k.Store.Directory == "" {
		k.fault("store.directory", "a node of a cluster keeps what is stored, and there is no directory", "write as in /var/lib/isthmus")
	}
	if len(c.Nodes) < 3 {
		k.fault(at+".nodes", strconv.Itoa(len(c.Nodes))+" nodes: most of them must be there, so that of two none may go away", "name three or five, one of which may be a gateway with a store alone")
	} else if len(c.Nodes)%2 == 0 {
		k.fault(at+".nodes", strconv.Itoa(len(c.Nodes))+" nodes: as many may go away as of one less", "name an odd number of them")
	}
	if c.Replicas.Int() > len(c.Nodes) {
		k.fault(at+".replicas", "more than there are nodes", "write at most "+strconv.Itoa(len(c.Nodes)))
	}
	names, addresses := map[ClusterName]string{}, map[HostPort]string{}
	own, open := false, HostPort("")
	for i, n := range c.Nodes {
		unique(k, names, n.Name, index(at+".nodes", i, "name"), "the same name", "give each node a name of its own")
		unique(k, addresses, n.Address, index(at+".nodes", i, "address"), "the same address", "give each node its own")
		own = own || n.Name == c.Node
		if n.Address != "" && !n.Address.loopback() {
			open = n.Address
		}
	}
	if !own {
		k.fault(at+".node", quoted(string(c.Node))+" is not among the nodes", "add it to nodes, or write the name of one of them")
	}
	if c.Listen != "" && !c.Listen.loopback() {
		open = c.Listen
	}
	for _, f := range []struct {
		key  string
		file Path
	}{{"chain_file", c.ChainFile}, {"key_file", c.KeyFile}, {"roots_file", c.RootsFile}} {
		switch {
		case f.file != "":
		case open != "":
			k.fault(at+"."+f.key, string(open)+" is reached from elsewhere: whoever reaches it could read and change everything", "write the file's name")
		case c.ChainFile != "" || c.KeyFile != "" || c.RootsFile != "":
			k.fault(at+"."+f.key, "chain_file, key_file and roots_file belong together", "write all three, or none")
		}
	}
}

// clusterOfServers checks a cluster on servers that are there already.
func (k *checker) clusterOfServers() {
	const at = "store.cluster"
	c := &k.Store.Cluster
	if len(c.Nodes) > 0 || c.Listen != "" || c.ChainFile != "" || c.KeyFile != "" {
		k.fault(at+".urls", "either nodes or urls", "remove nodes, listen, chain_file and key_file, or urls")
	}
}
