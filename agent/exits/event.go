package exits

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/vetch-dev/vetch/agent/process"
	"github.com/vetch-dev/vetch/model"
)

// The reasons of the events.
const (
	reasonNoMemory = "OOMKilled"
	reasonCrashed  = "Crashed" // by a signal that a fault of its own brings
	reasonExited   = "Exited"  // the main process of a container, not with 0
)

// eventOf tells of one exit. The message holds nothing that differs between two of the same.
func eventOf(t taken, who process.Identity, node string) model.Event {
	w := who.Workload
	if w.IsZero() {
		w = model.Workload{Kind: model.KindProcess, Name: "~unknown"}
	}
	e := model.Event{
		First: t.at, Last: t.at, Count: 1, Type: model.EventWarning, Source: model.SourceKernel, Workload: w, Node: node,
		Object: model.Object{Namespace: w.Namespace, Kind: string(w.Kind), Name: w.Name, UID: who.PodUID},
		Fields: map[string]string{"pid": strconv.FormatUint(uint64(t.PID), 10)},
	}
	if who.ContainerID != "" {
		e.Fields["container_id"] = who.ContainerID
	}
	if parts := strings.Split(who.ContainerID, "/"); len(parts) == 5 && parts[1] == "k8s" { // the workload may be the pod's owner
		e.Object = model.Object{Namespace: parts[2], Kind: string(model.KindPod), Name: parts[3], UID: who.PodUID}
		e.Fields["container"] = parts[4]
	}
	if t.First && who.Run != "" { // the cluster's API tells of it too
		e.ID = model.ContainerEnd(who.Run)
	}
	signal := signalName(t.Signal())
	if t.Signal() != 0 {
		e.Fields["signal"] = signal
	} else {
		e.Fields["exit_code"] = strconv.Itoa(t.Status())
	}
	subject := "a process of " + w.Name
	if t.First {
		subject = "the main process of " + w.Name
	} else if w.Kind == model.KindProcess {
		subject = w.Name
	}
	switch {
	case t.NoMemory:
		e.Reason, e.Message = reasonNoMemory, subject+" was killed: out of memory"
	case t.Signal() != 0 && !asked(t.Signal()):
		e.Reason, e.Message = reasonCrashed, subject+" was ended by "+signal
		if t.Core() {
			e.Fields["core"] = "true"
		}
	case t.Signal() != 0:
		e.Reason, e.Message, e.Type = reasonExited, subject+" was ended by "+signal, model.EventNormal
	default:
		e.Reason, e.Message = reasonExited, fmt.Sprintf("%s ended with exit code %d", subject, t.Status())
		if t.Status() > 128 && asked(t.Status()-128) { // as shells tell of a signal
			e.Type = model.EventNormal
		}
	}
	return e
}

// asked tells the signals by which somebody ends a process from those of a fault.
func asked(signal int) bool {
	switch syscall.Signal(signal) {
	case syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGKILL, syscall.SIGTERM, syscall.SIGPIPE, syscall.SIGALRM, syscall.SIGUSR1, syscall.SIGUSR2:
		return true
	default:
		return false
	}
}

func signalName(n int) string {
	if name := unix.SignalName(syscall.Signal(n)); name != "" {
		return name
	}
	return "signal " + strconv.Itoa(n)
}
