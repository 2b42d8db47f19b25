package admin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"
)

// maxSocketPath bounds the path, so that the temporary name fits into sun_path (108 octets on Linux, 104 elsewhere).
const maxSocketPath = 90

// socket is a unix socket with mode 0600 in the file system.
type socket struct {
	listener *net.UnixListener
	path     string
	made     fs.FileInfo
}

// listenUnix opens a socket at path that only the owner of the process can connect to. A socket that a dead process left there is
// replaced; one that is answered is not. The socket is made in a folder that nobody else can enter and then moved, so that there
// is no moment at which it can be connected to with another mode.
func listenUnix(ctx context.Context, path string) (*socket, error) {
	if !filepath.IsAbs(path) || len(path) > maxSocketPath {
		return nil, fmt.Errorf("a socket needs an absolute path of at most %d octets", maxSocketPath)
	}
	if err := clearStale(ctx, path); err != nil {
		return nil, err
	}
	folder, err := os.MkdirTemp(filepath.Dir(path), ".a")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)
	temporary := filepath.Join(folder, "s")
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "unix", temporary)
	if err != nil {
		return nil, err
	}
	s := &socket{listener: l.(*net.UnixListener), path: path}
	s.listener.SetUnlinkOnClose(false) // it knows the temporary name only
	err = os.Chmod(temporary, 0o600)
	if err == nil {
		s.made, err = os.Lstat(temporary)
	}
	if err == nil {
		err = os.Rename(temporary, path)
	}
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return s, nil
}

// clearStale removes a socket at path that nobody answers. Anything else at path stays, and is an error.
func clearStale(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%s is there and is no socket", path)
	}
	d := net.Dialer{Timeout: time.Second}
	if c, err := d.DialContext(ctx, "unix", path); err == nil {
		return errors.Join(fmt.Errorf("%s is in use: another isthmus answers there", path), c.Close())
	}
	return os.Remove(path)
}

// remove takes the socket out of the file system, if it is still the one that was made.
func (s *socket) remove() error {
	info, err := os.Lstat(s.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !os.SameFile(info, s.made):
		return nil
	}
	return os.Remove(s.path)
}
