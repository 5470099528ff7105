package process

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/godbus/dbus/v5"
)

const (
	maxUnits    = 16384 // kept
	unitAge     = 10 * time.Minute
	systemdName = "org.freedesktop.systemd1"
	unitsPath   = "/org/freedesktop/systemd1/unit/"
)

// Unit is what systemd knows of a service (org.freedesktop.systemd1(5)). Fields are empty where it does not tell.
type Unit struct {
	Type        string // "simple", "oneshot", "notify" and so on
	TriggeredBy string // the first unit that starts it: a socket, a timer, a path
}

// units asks systemd about services, by the bus of the system. Answers are kept for a while, and so is it that there was none. It may be used from any
// goroutine.
type units struct {
	socket string
	now    func() time.Time

	mu    sync.Mutex
	known map[string]knownUnit
	later time.Time // the bus does not answer, and is left alone until then
}

type knownUnit struct {
	Unit
	until time.Time
}

func newUnits(root string) *units {
	return &units{socket: filepath.Join(root, "run/dbus/system_bus_socket"), now: time.Now, known: make(map[string]knownUnit)}
}

// of tells of a service by its name; the zero Unit where nobody can. What asking takes goes off budget, and without any left nobody is asked.
func (u *units) of(name string, budget *time.Duration) Unit {
	got, fresh := u.kept(name)
	if fresh || *budget <= 0 {
		return got
	}
	start := time.Now()
	unit, err := u.ask(name)
	*budget -= time.Since(start)

	u.mu.Lock()
	defer u.mu.Unlock()
	var refused dbus.Error // by systemd, which does not know it
	if err != nil && !errors.As(err, &refused) {
		u.later = u.now().Add(lastAsk)
		return got
	}
	if _, found := u.known[name]; !found && len(u.known) >= maxUnits {
		clear(u.known)
	}
	u.known[name] = knownUnit{unit, u.now().Add(unitAge)}
	return unit
}

// kept is what was last heard of a service, and whether that will do for now.
func (u *units) kept(name string) (unit Unit, fresh bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	now := u.now()
	got := u.known[name]
	return got.Unit, now.Before(got.until) || now.Before(u.later)
}

// ask opens a connection for one question: units are asked about seldom, and what is not open cannot be lost.
func (u *units) ask(name string) (Unit, error) {
	ctx, cancel := context.WithTimeout(context.Background(), lookupLimit)
	defer cancel()
	bus, err := dbus.Connect("unix:path="+dbus.EscapeBusAddressValue(u.socket), dbus.WithContext(ctx))
	if err != nil {
		return Unit{}, fmt.Errorf("connect to the system bus: %w", err)
	}
	defer bus.Close()
	service := bus.Object(systemdName, dbus.ObjectPath(unitsPath+escapeObject(name)))
	property := func(of string, into any) error {
		var v dbus.Variant
		at, key, _ := strings.Cut(of, ".")
		if err := service.CallWithContext(ctx, "org.freedesktop.DBus.Properties.Get", 0, systemdName+"."+at, key).Store(&v); err != nil {
			return fmt.Errorf("ask systemd for %s of %s: %w", of, name, err)
		}
		return v.Store(into)
	}
	var unit Unit
	var triggers []string
	if err := property("Service.Type", &unit.Type); err != nil {
		return Unit{}, err
	}
	if err := property("Unit.TriggeredBy", &triggers); err != nil {
		return Unit{}, err
	}
	if len(triggers) > 0 {
		unit.TriggeredBy = triggers[0]
	}
	return unit, nil
}

// escapeObject writes a unit's name as systemd does in the path of its object: all but letters and digits, and a digit at the beginning, as _XX.
func escapeObject(name string) string {
	var b strings.Builder
	for i := range len(name) {
		c := name[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if letter || i > 0 && c >= '0' && c <= '9' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "_%02x", c)
		}
	}
	return b.String()
}
