package main

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/isthmus-gateway/isthmus/configs"
	"github.com/isthmus-gateway/isthmus/gateway"
	"github.com/isthmus-gateway/isthmus/internal/admin"
)

// queue is what the administration port shows of the store; nil without one.
func (a *assembly) queue(cfg *configs.Config) admin.Queue {
	if cfg.Store.Directory == "" && !cfg.Store.Cluster.Used() {
		return nil
	}
	return &storeQueue{gateway: a.gateway, readable: func() bool { return bool(a.running.Load().Store.Readable) }}
}

// storeQueue is the gateway's store for internal/admin.
type storeQueue struct {
	gateway  *gateway.Gateway
	readable func() bool
}

func known(err error) error {
	if errors.Is(err, gateway.ErrNotStored) {
		return admin.ErrUnknown
	}
	return err
}

// List implements admin.Queue.
func (q *storeQueue) List(ctx context.Context, dead bool, f func(json.RawMessage) error) error {
	return q.gateway.Stored(ctx, dead, func(s gateway.Stored) error {
		octets, err := json.Marshal(s)
		if err != nil {
			return err
		}
		return f(octets)
	})
}

// Read implements admin.Queue.
func (q *storeQueue) Read(ctx context.Context, id string) (json.RawMessage, error) {
	s, octets, err := q.gateway.ReadStored(ctx, id)
	if err != nil {
		return nil, known(err)
	}
	shown := struct {
		gateway.Stored
		Content json.RawMessage `json:"content,omitempty"`
	}{Stored: s}
	if q.readable() {
		shown.Content = octets
	}
	return json.Marshal(shown)
}

// Retry implements admin.Queue.
func (q *storeQueue) Retry(ctx context.Context, id string) error {
	return known(q.gateway.RetryStored(ctx, id))
}

// Drop implements admin.Queue.
func (q *storeQueue) Drop(ctx context.Context, id string) error {
	return known(q.gateway.DropStored(ctx, id))
}

// Resume implements admin.Queue.
func (q *storeQueue) Resume(ctx context.Context) error { return q.gateway.ResumeStored(ctx) }
