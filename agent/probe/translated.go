package probe

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/cilium/ebpf"
)

// translatedIdle is how long a pair of one connection stays after its end: what user space read of it may still name it.
const translatedIdle = 10 * time.Second

// translated reports whether the pair stands for one connection, whose peer's address is the machine's own in place of another.
func (k *PairKey) translated() bool { return k.Role == RoleServer && k.Remote.Port() != 0 }

// maxOwnAddresses is the room of the kernel's map. A machine that has more (those of all services, with IPVS) reaches its containers from the first ones.
const maxOwnAddresses = 1024

// SetOwnAddresses says which addresses are the machine's own. A connection that is accepted from one of them, and whose other end is nowhere on the machine,
// came through it by address translation, as with node ports of Kubernetes: it becomes a pair of its own, with the peer's port, by which the machine's
// connection tracker knows where it came from. There are at most a quarter as many of those as of all pairs; the connections beyond share one, which is counted
// as lost with the reason "translated_full". It is called by the goroutine of Run's snapshots.
func (p *Probe) SetOwnAddresses(list []netip.Addr) error {
	now := make(map[netip.Addr]bool, len(list))
	var errs []error
	for _, addr := range list {
		if addr.IsLoopback() || addr.IsLinkLocalUnicast() || len(now) >= maxOwnAddresses {
			continue
		}
		now[addr] = true
		if p.own[addr] {
			continue
		}
		if err := p.objects.OwnAddresses.Put(addr.As16(), uint8(1)); err != nil {
			errs = append(errs, fmt.Errorf("add %s: %w", addr, err))
			delete(now, addr)
		}
	}
	for addr := range p.own {
		if now[addr] {
			continue
		}
		if err := p.objects.OwnAddresses.Delete(addr.As16()); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			errs = append(errs, fmt.Errorf("take out %s: %w", addr, err))
		}
	}
	p.own = now
	return errors.Join(errs...)
}

// makeRoom tells the kernel how many more pairs may stand for one connection each.
func (r *reader) makeRoom(apart int) error {
	room := int64(r.maps.Pairs.MaxEntries()/4) - int64(apart)
	if err := r.maps.TranslatedRoom.Put(uint32(0), room); err != nil {
		return fmt.Errorf("set the room for translated connections: %w", err)
	}
	return nil
}
