package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/internal/certs/certstest"
)

// T-FI-17, T-AD-07: the metrics tell what is left of a certificate; SIGHUP takes the renewed one, keeps it when a bad one comes, and the
// gateway serves on until SIGTERM.
func TestServeReloadsCertificates_T_FI_17(t *testing.T) {
	folder, err := os.MkdirTemp("", "i")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	path := filepath.Join(folder, "admin.sock")
	ca := certstest.NewCA(t)
	until := func(left time.Duration) *certstest.Leaf {
		return ca.Issue(certstest.Spec{DNS: []string{"example.net"}, NotAfter: time.Now().Add(left)})
	}
	files := until(48 * time.Hour).WriteFiles(folder)
	r := serving(t, fmt.Sprintf(sipSide, "udp")+"admin: {listen: \"unix:"+path+"\"}\ntls:\n  certificates: [{name: one, chain_file: "+files.Chain+
		", key_file: "+files.Key+"}]\n  roots_file: "+ca.WriteRoot(folder)+"\n", nil)
	client := unixClient(path)
	defer client.CloseIdleConnections()
	gauge := regexp.MustCompile(`(?m)^isthmus_tls_certificate_expiry_seconds\{name="one"\} (\S+)$`)
	hours := func() int {
		t.Helper()
		_, body := fetch(t, client, "/metrics")
		m := gauge.FindStringSubmatch(body)
		if m == nil {
			t.Fatalf("no gauge in %s", body)
		}
		seconds, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			t.Fatal(err)
		}
		return int(seconds / 3600)
	}
	counted := func(result string) bool {
		_, body := fetch(t, client, "/metrics")
		return strings.Contains(body, "\nisthmus_tls_reloads_total{result=\""+result+"\"} 1\n")
	}
	if h := hours(); h != 47 {
		t.Errorf("%d hours are left, want 47", h)
	}
	until(72 * time.Hour).WriteTo(files)
	r.signals <- syscall.SIGHUP
	eventually(t, "the certificate is read anew", func() bool { return counted("ok") })
	if h := hours(); h != 71 {
		t.Errorf("after the renewal %d hours are left, want 71", h)
	}
	until(-time.Minute).WriteTo(files)
	r.signals <- syscall.SIGHUP
	eventually(t, "the bad certificate is refused", func() bool { return counted("kept") })
	if h := hours(); h != 71 {
		t.Errorf("after the bad one %d hours are left, want 71", h)
	}
	eventually(t, "the log says so", func() bool {
		log := r.log.String()
		return strings.Contains(log, "expires-soon") && strings.Contains(log, "not reloaded")
	})
	if code := r.end(t); code != 0 {
		t.Errorf("exit code %d\n%s", code, r.log)
	}
}
