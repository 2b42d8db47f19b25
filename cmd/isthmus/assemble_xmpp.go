package main

import (
	"strconv"

	"github.com/isthmus-gateway/isthmus/adapters/xmpp"
	"github.com/isthmus-gateway/isthmus/configs"
	"github.com/isthmus-gateway/isthmus/internal/strictxml"
	"github.com/isthmus-gateway/isthmus/resolver"
)

func xmppConfig(cfg *configs.Config, with surroundings) xmpp.Config {
	l, x := cfg.Limits.XMPP, cfg.XMPP
	c := xmpp.Config{
		Limits: xmpp.Limits{
			XML: strictxml.Limits{
				Bytes: l.Stanza.Octets(), Depth: l.Depth.Int(), Attributes: l.Attributes.Int(), NameBytes: l.Name.Octets(), Children: l.Children.Int(),
			},
			StanzaBytes: l.Written.Octets(), QueueBytes: l.QueueSize.Octets(), QueueStanzas: l.Queue.Int(), Window: l.Window.Int(),
			ConnectTimeout: x.ConnectTimeout.Std(), WriteTimeout: l.Write.Std(), KeepAlive: x.KeepAlive.Std(), PingTimeout: x.PingTimeout.Std(),
		},
		Backoff:    xmpp.Backoff{Base: x.BackoffFirst.Std(), Max: x.BackoffLongest.Std(), Stable: x.BackoffStable.Std()},
		Logger:     with.part(xmpp.Name),
		Registerer: with.registry,
		Tap:        with.tap,
	}
	for _, m := range x.Components {
		component := xmpp.Component{
			Name: string(m.Name), Server: string(m.Server), Domain: string(m.Domain), Secret: xmpp.NewSecret(m.Secret.Reveal()),
		}
		for _, d := range m.Serves {
			component.Serves = append(component.Serves, string(d))
		}
		c.Components = append(c.Components, component)
	}
	return c
}

// componentHop is the next hop of a route to a component. The XMPP adapter finds the link by the two domains of an operation, and
// dials the server itself; the hop only tells the core that there is one. So it is an address also where the server is a name.
func componentHop(m configs.Component) (resolver.Static, error) {
	static, err := m.Server.Static()
	if err != nil || !named(static) {
		return static, err
	}
	return resolver.ParseStatic("component:[::1]:" + strconv.Itoa(int(static.Port())))
}
