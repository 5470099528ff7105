package dev.vetch;

import java.lang.ref.ReferenceQueue;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicLong;

/** The sessions of all engines, sockets and streams that live. */
final class Sessions {
    private static final int MOST = 1 << 17; // a socket takes three entries
    private static final ConcurrentHashMap<Object, Session> all = new ConcurrentHashMap<>();
    private static final ReferenceQueue<Object> collected = new ReferenceQueue<>();
    private static final AtomicLong last = new AtomicLong();

    private Sessions() {}

    /** The session of an engine; null when there are too many. */
    static Session of(State state, Object engine) {
        Session session = find(state, engine);
        if (session != null || full()) {
            return session;
        }
        return add(state, engine, -1, null);
    }

    /** The session of the socket that a stream belongs to; null when there are too many. */
    static Session ofStream(State state, Object stream) {
        Session session = find(state, stream);
        if (session != null || full()) {
            return session;
        }
        Object socket = Hook.socketOf(stream);
        if (socket == null) {
            return null;
        }
        session = find(state, socket);
        if (session == null) {
            session = add(state, socket, Hook.descriptor(socket), null);
        }
        return add(state, stream, session.descriptor, session);
    }

    private static Session find(State state, Object of) {
        state.key.of = of;
        Session session = all.get(state.key);
        state.key.of = null;
        return session;
    }

    /** Remembers a session, a new one where none is given, unless another thread was faster: once for each engine, socket and stream. */
    private static synchronized Session add(State state, Object of, int descriptor, Session given) {
        Session session = find(state, of);
        if (session == null) {
            session = given == null ? new Session(last.incrementAndGet(), descriptor) : given;
            all.put(new Session.Weak(of, collected), session);
        }
        return session;
    }

    private static boolean full() {
        for (Object gone = collected.poll(); gone != null; gone = collected.poll()) {
            all.remove(gone);
        }
        return all.size() >= MOST;
    }
}
