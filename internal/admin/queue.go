package admin

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
)

// Queue is what an operator can see of, and do with, what is stored. Errors that Is ErrUnknown are answered 404.
type Queue interface {
	// List calls f with one JSON object for each entry that waits, or for each dead letter.
	List(ctx context.Context, dead bool, f func(json.RawMessage) error) error
	// Read returns one entry, with the message itself if that is allowed.
	Read(ctx context.Context, id string) (json.RawMessage, error)
	Retry(ctx context.Context, id string) error
	Drop(ctx context.Context, id string) error
	Resume(ctx context.Context) error
}

// ErrUnknown says that there is no such entry.
var ErrUnknown = errors.New("admin: no such entry")

// handleQueue adds the paths of the queue. They are for the unix socket alone, which only the gateway's own user can open: they name people,
// and change what becomes of their messages.
func handleQueue(mux *http.ServeMux, q Queue) {
	mux.HandleFunc("GET /queue", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/jsonl")
		began := false
		err := q.List(r.Context(), r.URL.Query().Get("dead") != "", func(entry json.RawMessage) error {
			began = true
			_, err := w.Write(append(entry, '\n'))
			return err
		})
		if err != nil && !began {
			fail(w, err)
		}
	})
	mux.HandleFunc("GET /queue/{id}", func(w http.ResponseWriter, r *http.Request) {
		entry, err := q.Read(r.Context(), r.PathValue("id"))
		if err != nil {
			fail(w, err)
			return
		}
		answer(w, http.StatusOK, entry)
	})
	change := func(f func(context.Context, string) error) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if err := f(r.Context(), r.PathValue("id")); err != nil {
				fail(w, err)
				return
			}
			answer(w, http.StatusOK, struct {
				Done bool `json:"done"`
			}{true})
		}
	}
	mux.HandleFunc("POST /queue/{id}/retry", change(q.Retry))
	mux.HandleFunc("POST /queue/{id}/drop", change(q.Drop))
	mux.HandleFunc("POST /queue/resume", change(func(ctx context.Context, _ string) error { return q.Resume(ctx) }))
}

func fail(w http.ResponseWriter, err error) {
	code := http.StatusInternalServerError
	if errors.Is(err, ErrUnknown) {
		code = http.StatusNotFound
	}
	answer(w, code, struct {
		Error string `json:"error"`
	}{err.Error()})
}
