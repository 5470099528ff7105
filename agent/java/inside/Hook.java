package dev.vetch;

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import javax.net.ssl.SSLEngine;
import javax.net.ssl.SSLEngineResult;
import javax.net.ssl.SSLException;

/**
 * What the changed methods of JSSE ask first. A method that on() answers true calls its twin here, which calls the method again, as it was,
 * and shows the plain text to the kernel. What the application sees is the method's own result or exception; nothing of ours is ever
 * thrown, and after anything unexpected all hooks are off for good.
 */
public final class Hook {
    private static final int RECEIVED = 1; // flags of bpf/java.bpf.c
    private static final int DESCRIPTOR = 2; // where is a file descriptor, else what a record begins with; 0 is nothing of the kind
    private static final int PRINT = 40; // bytes at the begin of a record that tell it from others
    private static final int PIECES = 16; // buffers of one call that are shown

    private static volatile boolean off;
    private static ByteBuffer probes; // how many probes sit in the library, in its memory
    private static State.Local states;

    private Hook() {}

    static void start(ByteBuffer counter) {
        states = new State.Local();
        probes = counter.order(ByteOrder.nativeOrder());
    }

    private static native void plain(long session, int flags, byte[] array, int offset, int bytes, long where);

    private static native void plainDirect(long session, int flags, ByteBuffer buffer, int offset, int bytes, long where);

    private static native void switchedOff();

    static native Object socketOf(Object stream);

    static native int descriptor(Object socket);

    /** Whether somebody looks, and this is not a call that was made by one of the twins below. */
    public static boolean on() {
        try {
            return probes.getShort(0) != 0 && !off && !states.get().inside;
        } catch (Throwable e) {
            fail();
            return false;
        }
    }

    private static void fail() {
        off = true; // first: whatever comes, no hook runs again
        try {
            switchedOff();
        } catch (Throwable e) {
            return;
        }
    }

    /** Marks this thread; null when that cannot be, and then everything is off. */
    private static State enter() {
        try {
            State state = states.get();
            state.inside = true;
            return state;
        } catch (Throwable e) {
            fail();
            return null;
        }
    }

    public static int read(InputStream self, byte[] array, int offset, int length) throws IOException {
        State state = enter();
        int n;
        try {
            n = self.read(array, offset, length);
        } finally {
            if (state != null) {
                state.inside = false;
            }
        }
        if (n > 0 && state != null) {
            stream(state, self, RECEIVED, array, offset, n);
        }
        return n;
    }

    public static void write(OutputStream self, byte[] array, int offset, int length) throws IOException {
        State state = enter();
        boolean shown = false;
        try {
            // Its answer may be there before the call returns. But the first write of all may be the handshake, which may fail.
            shown = state != null && length > 0 && inside(array, offset, length) && written(state, self, array, offset, length);
            self.write(array, offset, length);
        } finally {
            if (state != null) {
                state.inside = false;
            }
        }
        if (state != null && !shown && length > 0) {
            stream(state, self, 0, array, offset, length);
        }
    }

    private static boolean inside(byte[] array, int offset, int length) {
        return array != null && offset >= 0 && length <= array.length - offset;
    }

    private static boolean written(State state, OutputStream self, byte[] array, int offset, int length) {
        try {
            Session session = Sessions.ofStream(state, self);
            if (session == null || !session.spoke) {
                return false;
            }
        } catch (Throwable e) {
            fail();
            return true;
        }
        stream(state, self, 0, array, offset, length);
        return true;
    }

    private static void stream(State state, Object self, int flags, byte[] array, int offset, int bytes) {
        try {
            Session session = Sessions.ofStream(state, self);
            if (session == null) {
                plain(0, flags, null, 0, bytes, 0);
                return;
            }
            session.spoke = true;
            plain(session.id, flags | DESCRIPTOR, array, offset, bytes, session.descriptor);
        } catch (Throwable e) {
            fail();
        }
    }

    public static SSLEngineResult wrap(SSLEngine self, ByteBuffer[] from, int offset, int length, ByteBuffer to) throws SSLException {
        State state = enter();
        int begin = 0;
        SSLEngineResult result;
        try {
            begin = note(state, from, offset, length, to);
            result = self.wrap(from, offset, length, to);
        } finally {
            if (state != null) {
                state.inside = false;
            }
        }
        if (state != null && result.bytesProduced() > 0) {
            wrapped(state, self, from, offset, length, to, begin, result);
        }
        return result;
    }

    /** Notes where buffers stand before the call; the result is where the last one does. */
    private static int note(State state, ByteBuffer[] buffers, int offset, int length, ByteBuffer to) {
        try {
            if (state != null) {
                state.begin(buffers, offset, length);
            }
            return to == null ? 0 : to.position();
        } catch (Throwable e) {
            fail();
            return 0;
        }
    }

    private static void wrapped(State state, SSLEngine self, ByteBuffer[] from, int offset, int length, ByteBuffer to, int begin, SSLEngineResult result) {
        try {
            Session session = Sessions.of(state, self);
            long id = session == null ? 0 : session.id;
            long print = print(to, begin, result.bytesProduced());
            if (result.bytesConsumed() > 0) {
                pieces(state, id, 0, from, offset, length, result.bytesConsumed(), print);
            } else if (id != 0 && print != 0) {
                plain(id, 0, null, 0, 0, print);
            }
        } catch (Throwable e) {
            fail();
        }
    }

    public static SSLEngineResult unwrap(SSLEngine self, ByteBuffer from, ByteBuffer[] to, int offset, int length) throws SSLException {
        State state = enter();
        SSLEngineResult result;
        try {
            note(state, to, offset, length, null);
            result = self.unwrap(from, to, offset, length);
        } finally {
            if (state != null) {
                state.inside = false;
            }
        }
        if (state != null && result.bytesProduced() > 0) {
            unwrapped(state, self, to, offset, length, result.bytesProduced());
        }
        return result;
    }

    private static void unwrapped(State state, SSLEngine self, ByteBuffer[] to, int offset, int length, int bytes) {
        try {
            Session session = Sessions.of(state, self);
            pieces(state, session == null ? 0 : session.id, RECEIVED, to, offset, length, bytes, 0);
        } catch (Throwable e) {
            fail();
        }
    }

    /** Shows what went through several buffers: in each, what lies between where it stood before the call and where it stands now. */
    private static void pieces(State state, long id, int flags, ByteBuffer[] buffers, int offset, int length, int bytes, long print) {
        int left = bytes;
        for (int i = 0; i < Math.min(length, PIECES) && left > 0; i++) {
            ByteBuffer buffer = buffers[offset + i];
            int begin = state.positions[i], n = Math.min(buffer.position() - begin, left);
            if (n <= 0) {
                continue;
            }
            left -= n;
            show(id, flags, buffer, begin, n, print);
        }
        if (left > 0) { // more buffers than are looked at: their bytes are known to be missing
            plain(id, flags, null, 0, left, print);
        }
    }

    private static void show(long id, int flags, ByteBuffer buffer, int begin, int bytes, long print) {
        if (buffer.isDirect()) {
            plainDirect(id, flags, buffer, begin, bytes, print);
        } else if (buffer.hasArray()) {
            plain(id, flags, buffer.array(), buffer.arrayOffset() + begin, bytes, print);
        } else {
            byte[] copy = State.borrow(bytes);
            if (copy != null) { // read-only
                ByteBuffer view = buffer.duplicate();
                view.position(begin);
                view.get(copy, 0, bytes);
            }
            plain(id, flags, copy, 0, bytes, print);
            State.giveBack(copy);
        }
    }

    /** What the record at the begin of these bytes is known by when it is written to a socket: java_print() of bpf/java.bpf.c. */
    private static long print(ByteBuffer buffer, int begin, int bytes) {
        if (bytes < PRINT) {
            return 0;
        }
        boolean swap = buffer.order() != ByteOrder.LITTLE_ENDIAN;
        long h = 0;
        for (int i = 0; i < PRINT; i += 8) {
            long word = buffer.getLong(begin + i);
            h = (h ^ (swap ? Long.reverseBytes(word) : word)) * 0x9E3779B97F4A7C15L;
            h ^= h >>> 32;
        }
        return h;
    }
}
