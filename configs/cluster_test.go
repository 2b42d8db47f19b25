package configs

import (
	"fmt"
	"strings"
	"testing"
)

// What is wrong with a cluster is said before it is started.
func TestClusterFaults(t *testing.T) {
	const three = "nodes: [{name: a, address: '127.0.0.1:1'}, {name: b, address: '127.0.0.1:2'}, {name: c, address: '127.0.0.1:3'}]"
	files := ", chain_file: a.crt, key_file: a.key, roots_file: r.pem"
	for _, c := range []struct{ name, cluster, fault string }{
		{"three nodes", "node: a, " + three, ""},
		{"of nobody's name", "node: d, " + three, "not among the nodes"},
		{"two nodes", "node: a, nodes: [{name: a, address: 'x:1'}, {name: b, address: 'y:1'}]" + files, "of two none may go away"},
		{"four nodes", strings.Replace("node: a, "+three, "}]", "}, {name: d, address: '127.0.0.1:4'}]", 1), "odd number"},
		{"a name twice", strings.Replace("node: a, "+three, "name: b", "name: a", 1), "the same name"},
		{"an address twice", strings.Replace("node: a, "+three, ":2", ":1", 1), "the same address"},
		{"no port", strings.Replace("node: a, "+three, ":2", "", 1), "no host and port"},
		{"reached from elsewhere", "node: a, " + strings.Replace(three, "127.0.0.1:2", "192.0.2.1:2", 1), "reached from elsewhere"},
		{"reached from elsewhere with TLS", "node: a, " + strings.Replace(three, "127.0.0.1:2", "192.0.2.1:2", 1) + files, ""},
		{"listens for everybody", "node: a, listen: '0.0.0.0:1', " + three, "reached from elsewhere"},
		{"half of TLS", "node: a, chain_file: a.crt, " + three, "belong together"},
		{"too many replicas", "node: a, replicas: 5, " + three, "more than there are nodes"},
		{"nodes and servers", "node: a, urls: ['tls://x:1'], " + three, "either nodes or urls"},
		{"servers", "node: a, urls: ['tls://x.example:4222', 'nats://127.0.0.1:4222']", ""},
		{"servers without TLS", "node: a, urls: ['nats://x.example:4222']", "no server that can be used"},
		{"no name", "node: 'a b', " + three, "no name of a node"},
	} {
		_, err := Parse("test.yaml", fmt.Appendf(nil, "routes: []\nstore: {directory: /var/lib/x, cluster: {%s}}\n", c.cluster))
		var of []string
		if err != nil {
			for line := range strings.Lines(err.Error()) {
				if strings.Contains(line, "store.cluster") {
					of = append(of, line)
				}
			}
		}
		if c.fault == "" && len(of) > 0 || c.fault != "" && !strings.Contains(strings.Join(of, ""), c.fault) {
			t.Errorf("%s: %q, want %q", c.name, of, c.fault)
		}
	}
}
