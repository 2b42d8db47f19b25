package configs

func (k *checker) xmpp() {
	names := make(map[Name]string)
	domains := make(map[Domain]string)
	if k.XMPP.BackoffLongest < k.XMPP.BackoffFirst {
		k.fault("xmpp.backoff_longest", "less than backoff_first", "write at least "+k.XMPP.BackoffFirst.String())
	}
	for i, m := range k.XMPP.Components {
		at := index("xmpp.components", i)
		unique(k, names, m.Name, at+".name", "the same name", "give each component a name of its own")
		unique(k, domains, m.Domain, at+".domain", "the same domain", "one component can be known by it: remove the others")
		switch {
		case m.SecretFile != "" && m.SecretEnv != "":
			k.fault(at+".secret_env", "the secret is named twice", "keep secret_file or secret_env")
		case m.SecretFile == "" && m.SecretEnv == "" && !k.written(at+".secret_file") && !k.written(at+".secret_env"):
			k.fault(at, "no secret is named", "write secret_file: and a path, or secret_env: and the name of a variable")
		}
		if r := k.byRoute[m.Domain]; m.Domain != "" && (r == nil || r.Via == "xmpp") {
			k.fault(at+".domain", "no route leads "+string(m.Domain)+" to another side: what the server hands over for it could go nowhere",
				"add {domain: "+string(m.Domain)+", via: sip, next_hops: […]} to routes")
		}
		k.senders(at+".serves", m.Serves, "xmpp")
	}
}
