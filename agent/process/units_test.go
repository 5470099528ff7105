package process

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/stretchr/testify/require"
)

// busAt runs a real message bus on the socket of the system's below a root.
func busAt(t *testing.T, root string) *dbus.Conn {
	t.Helper()
	daemon, err := exec.LookPath("dbus-daemon")
	require.NoError(t, err, "needs dbus-daemon (scripts/deps.sh test)")
	socket := filepath.Join(root, "run/dbus/system_bus_socket")
	config := filepath.Join(root, "bus.conf")
	writeFile(t, config, fmt.Sprintf(`<busconfig><listen>unix:path=%s</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow own="*"/><allow send_destination="*"/><allow receive_sender="*"/></policy></busconfig>`, socket))
	require.NoError(t, os.MkdirAll(filepath.Dir(socket), 0o755))
	cmd := exec.Command(daemon, "--config-file="+config, "--nofork", "--nopidfile")
	cmd.Stderr = os.Stderr
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	var bus *dbus.Conn
	require.Eventually(t, func() bool {
		bus, err = dbus.Connect("unix:path=" + socket)
		return err == nil
	}, time.Minute, 10*time.Millisecond)
	t.Cleanup(func() { _ = bus.Close() })
	return bus
}

// systemdObject stands in for the object that systemd has for a service.
type systemdObject struct {
	values map[string]any // by interface and name
	asked  *atomic.Int32
}

// Get is org.freedesktop.DBus.Properties.Get.
func (s systemdObject) Get(of, name string) (dbus.Variant, *dbus.Error) {
	s.asked.Add(1)
	v, ok := s.values[of+"."+name]
	if !ok {
		return dbus.Variant{}, dbus.MakeFailedError(errors.New("no such property"))
	}
	return dbus.MakeVariant(v), nil
}

func TestUnits(t *testing.T) {
	root := t.TempDir()
	bus := busAt(t, root)
	reply, err := bus.RequestName(systemdName, dbus.NameFlagDoNotQueue)
	require.NoError(t, err)
	require.Equal(t, dbus.RequestNameReplyPrimaryOwner, reply)
	var asked atomic.Int32
	for path, values := range map[string]map[string]any{
		"backup_40home_2eservice": {"Service.Type": "oneshot", "Unit.TriggeredBy": []string{"backup@home.timer"}},
		"nginx_2eservice":         {"Service.Type": "forking", "Unit.TriggeredBy": []string{}},
	} {
		named := map[string]any{}
		for name, v := range values {
			named[systemdName+"."+name] = v
		}
		require.NoError(t, bus.Export(systemdObject{named, &asked}, dbus.ObjectPath(unitsPath+path), "org.freedesktop.DBus.Properties"))
	}
	namer := NewNamer(root, nil)
	now := time.Now()
	namer.units.now = func() time.Time { return now }
	describe := func(unit string) Description {
		budget := time.Minute
		return namer.Describe(Place{Unit: unit, UnitPath: "/system.slice/" + unit}, &budget)
	}
	require.Equal(t, Description{Unit: Unit{Type: "oneshot", TriggeredBy: "backup@home.timer"}}, describe("backup@home.service"))
	require.Equal(t, Description{Unit: Unit{Type: "forking"}}, describe("nginx.service"))
	require.Equal(t, Description{}, describe("unknown.service"))
	before := asked.Load()
	require.Equal(t, Description{Unit: Unit{Type: "forking"}}, describe("nginx.service"))
	require.Equal(t, before, asked.Load(), "it is not asked again")
	now = now.Add(unitAge)
	require.Equal(t, Description{Unit: Unit{Type: "forking"}}, describe("nginx.service"))
	require.Greater(t, asked.Load(), before)

	none := time.Duration(0)
	require.Equal(t, Description{}, namer.Describe(Place{Unit: "other.service"}, &none))
}

// TestUnitsWithoutSystemd: a bus that is not there, or hangs, is left alone for a while.
func TestUnitsWithoutSystemd(t *testing.T) {
	root := t.TempDir()
	u := newUnits(root)
	now := time.Now()
	u.now = func() time.Time { return now }
	budget := time.Minute
	require.Zero(t, u.of("nginx.service", &budget))
	require.NoError(t, os.MkdirAll(filepath.Join(root, "run/dbus"), 0o755))
	listener, err := net.Listen("unix", u.socket)
	require.NoError(t, err)
	defer listener.Close()
	require.Zero(t, u.of("nginx.service", &budget), "nobody is asked")
	require.Greater(t, budget, time.Minute-lookupLimit)
	now = now.Add(lastAsk)
	require.Zero(t, u.of("nginx.service", &budget), "it ends, though nobody answers")
	require.LessOrEqual(t, budget, time.Minute-lookupLimit)
}
