package dev.vetch;

import java.nio.ByteBuffer;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.atomic.AtomicInteger;

/** What a thread remembers during a call. */
final class State {
    private static final int PIECES = 16;
    private static final int COPY = 32 << 10; // the plain text of two records
    private static final int COPIES = 64;
    private static final ArrayBlockingQueue<byte[]> free = new ArrayBlockingQueue<>(COPIES);
    private static final AtomicInteger made = new AtomicInteger();

    boolean inside; // one of the twins has called the method itself
    final int[] positions = new int[PIECES]; // of the buffers, before the call
    final Session.Key key = new Session.Key();

    /** The states of all threads. A class with a name, for lambdas need more of the JVM than is good here. */
    static final class Local extends ThreadLocal<State> {
        @Override
        protected State initialValue() {
            return new State();
        }
    }

    /** Notes where buffers stand. Arguments that the method itself will refuse are passed over. */
    void begin(ByteBuffer[] buffers, int offset, int length) {
        if (buffers == null || offset < 0 || length < 0 || length > buffers.length - offset) {
            return;
        }
        for (int i = 0; i < Math.min(length, PIECES); i++) {
            ByteBuffer buffer = buffers[offset + i];
            positions[i] = buffer == null ? 0 : buffer.position();
        }
    }

    /** An array for a copy, or null: there are COPIES of them at the most. */
    static byte[] borrow(int bytes) {
        if (bytes > COPY) {
            return null;
        }
        byte[] array = free.poll();
        if (array == null && made.get() < COPIES && made.incrementAndGet() <= COPIES) {
            array = new byte[COPY];
        }
        return array;
    }

    static void giveBack(byte[] array) {
        if (array != null) {
            free.offer(array);
        }
    }
}
