package xmpp

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
)

// Replies that are dropped are told of once a second, however many they are: a peer that has its answers dropped must not fill the disk.
func TestDroppedRepliesFillNoLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var lines bytes.Buffer
		registry := prometheus.NewRegistry()
		a, err := New(Config{
			Logger: zerolog.New(&lines), Registerer: registry,
			Components: []Component{{Name: "main", Server: "127.0.0.1:5347", Domain: "example.net", Serves: []string{"example.com"}, Secret: NewSecret("x")}},
		})
		if err != nil {
			t.Fatal(err)
		}
		l := a.links()[0]
		for range 3000 {
			l.undelivered(2)
			time.Sleep(time.Millisecond)
		}
		if n := strings.Count(lines.String(), "replies were dropped"); n != 3 {
			t.Errorf("%d lines", n)
		}
		if !strings.Contains(lines.String(), `"replies":2,`) || !strings.Contains(lines.String(), `"replies":2000,`) {
			t.Error(lines.String())
		}
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		n := 0.0
		for _, f := range families {
			if f.GetName() == "isthmus_xmpp_replies_dropped_total" {
				n += f.GetMetric()[0].GetCounter().GetValue()
			}
		}
		if n != 6000 {
			t.Errorf("%v are counted", n)
		}
	})
}
