package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/rs/zerolog"
	"golang.org/x/net/netutil"
)

// Bounds of the port. A monitoring system needs few connections and small requests.
const (
	maxConnections    = 32
	maxHeaderBytes    = 16 << 10
	maxScrapes        = 4
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 10 * time.Second
	writeTimeout      = 30 * time.Second
	idleTimeout       = time.Minute
)

// Link is one connection of an adapter to the outside, as readiness sees it.
type Link struct {
	Adapter string `json:"adapter"` // the adapter's name
	Name    string `json:"name"`    // the configured name of the peer, or the listener
	Up      bool   `json:"up"`      // traffic can pass now
	Detail  string `json:"detail,omitempty"`
}

// Config is what Start needs.
type Config struct {
	// Network and Address are net.Listen's: "unix" and an absolute path of at most 90 octets, or "tcp" and a loopback address.
	Network, Address string
	// Links tells the state of all links. It is called for each request of /readyz, from any goroutine, and must not block.
	// No link at all is ready.
	Links func() []Link
	// Queue is what is stored, nil if there is no store. It is served over a unix socket alone.
	Queue Queue
	// Reload reads the configuration again and says what came of it, as a JSON object; ok is false if it was refused. It is served over a unix
	// socket alone. nil: there is none.
	Reload func(ctx context.Context) (report json.RawMessage, ok bool, err error)
	// Gatherer gives the metrics.
	Gatherer prometheus.Gatherer
	// Logger gets the faults of the port.
	Logger zerolog.Logger
}

// Server is the open port.
type Server struct {
	http     http.Server
	listener net.Listener
	socket   *socket // nil for tcp
	done     chan struct{}
}

// Start opens the port and serves it until Shutdown. It fails if the address is not local, or taken.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	s := &Server{done: make(chan struct{})}
	var hosts func(string) bool
	switch cfg.Network {
	case "unix":
		var err error
		if s.socket, err = listenUnix(ctx, cfg.Address); err != nil {
			return nil, fmt.Errorf("admin: %w", err)
		}
		s.listener = s.socket.listener
		hosts = func(string) bool { return true } // no browser speaks to a unix socket
	case "tcp":
		// The configuration refuses other addresses too; this is the last door.
		a, err := netip.ParseAddrPort(cfg.Address)
		if err != nil || !a.Addr().Unmap().IsLoopback() {
			return nil, fmt.Errorf("admin: %q is no loopback address", cfg.Address)
		}
		var lc net.ListenConfig
		if s.listener, err = lc.Listen(ctx, "tcp", cfg.Address); err != nil {
			return nil, fmt.Errorf("admin: %w", err)
		}
		hosts = localHost
	default:
		return nil, fmt.Errorf("admin: %q is no network for it: unix or tcp", cfg.Network)
	}
	errorLog := log.New(logWriter{cfg.Logger}, "", 0)
	s.http = http.Server{
		Handler:           handler(cfg, hosts, errorLog),
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          errorLog,
		Protocols:         new(http.Protocols),
	}
	s.http.Protocols.SetHTTP1(true)
	go func() {
		defer close(s.done)
		if err := s.http.Serve(netutil.LimitListener(s.listener, maxConnections)); !errors.Is(err, http.ErrServerClosed) {
			cfg.Logger.Error().Err(err).Msg("admin port failed")
		}
	}()
	return s, nil
}

// Addr is where the port is open.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Shutdown closes the port, lets requests under way finish within ctx, and removes the unix socket.
func (s *Server) Shutdown(ctx context.Context) error {
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, s.http.Close())
	}
	<-s.done
	if s.socket != nil {
		err = errors.Join(err, s.socket.remove())
	}
	return err
}

func handler(cfg Config, hosts func(string) bool, errorLog *log.Logger) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, struct {
			Alive bool `json:"alive"`
		}{true})
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		state := struct {
			Ready bool   `json:"ready"`
			Links []Link `json:"links"`
		}{true, append([]Link{}, cfg.Links()...)}
		for _, l := range state.Links {
			state.Ready = state.Ready && l.Up
		}
		code := http.StatusOK
		if !state.Ready {
			code = http.StatusServiceUnavailable
		}
		answer(w, code, state)
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(cfg.Gatherer, promhttp.HandlerOpts{
		ErrorLog: errorLog, ErrorHandling: promhttp.HTTPErrorOnError, MaxRequestsInFlight: maxScrapes, Timeout: writeTimeout / 2,
	}))
	if cfg.Queue != nil && cfg.Network == "unix" {
		handleQueue(mux, cfg.Queue)
	}
	if cfg.Reload != nil && cfg.Network == "unix" {
		mux.HandleFunc("POST /reload", func(w http.ResponseWriter, r *http.Request) {
			// Not cut short when who asked has gone.
			report, ok, err := cfg.Reload(context.WithoutCancel(r.Context()))
			switch {
			case err != nil:
				fail(w, err)
			case ok:
				answer(w, http.StatusOK, report)
			default:
				answer(w, http.StatusUnprocessableEntity, report)
			}
		})
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !hosts(r.Host) {
			// A page in a browser on this machine could name a domain of its own that points here (DNS rebinding), and read.
			http.Error(w, "this port answers to local addresses only", http.StatusMisdirectedRequest)
			return
		}
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		mux.ServeHTTP(w, r)
	})
}

func answer(w http.ResponseWriter, code int, v any) {
	octets, err := json.Marshal(v)
	if err != nil {
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	octets = append(octets, '\n')
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(octets)))
	w.WriteHeader(code)
	_, _ = w.Write(octets) // a reader that has gone is its own loss
}

// localHost reports whether a Host header names this machine: a loopback address or localhost.
func localHost(host string) bool {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = host
	}
	if name == "localhost" {
		return true
	}
	if n := len(name); n > 1 && name[0] == '[' && name[n-1] == ']' {
		name = name[1 : n-1]
	}
	a, err := netip.ParseAddr(name)
	return err == nil && a.Unmap().IsLoopback()
}

// logWriter takes the lines of net/http, which knows no other logger. They may hold what a client sent, so they are cut.
type logWriter struct{ logger zerolog.Logger }

func (w logWriter) Write(line []byte) (int, error) {
	const most = 256
	w.logger.Warn().Str("fault", strconv.QuoteToASCII(string(line[:min(len(line), most)]))).Msg("admin port")
	return len(line), nil
}
