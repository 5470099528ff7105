package dev.vetch;

import java.lang.ref.ReferenceQueue;
import java.lang.ref.WeakReference;

/** One connection's TLS, by a number that is never used again in this process. */
final class Session {
    final long id;
    final int descriptor; // of its socket; -1 for an engine, which has none
    volatile boolean spoke; // plain text of it was shown

    Session(long id, int descriptor) {
        this.id = id;
        this.descriptor = descriptor;
    }

    /** An engine, socket or stream that is not kept from being collected. It is equal to a Key that holds the same. */
    static final class Weak extends WeakReference<Object> {
        private final int hash;

        Weak(Object of, ReferenceQueue<Object> collected) {
            super(of, collected);
            hash = System.identityHashCode(of);
        }

        @Override
        public int hashCode() {
            return hash;
        }

        @Override
        public boolean equals(Object other) {
            if (other instanceof Key) {
                return ((Key) other).of == get();
            }
            return this == other;
        }
    }

    /** What is looked for; each thread has one. */
    static final class Key {
        Object of;

        @Override
        public int hashCode() {
            return System.identityHashCode(of);
        }

        @Override
        public boolean equals(Object other) {
            return other instanceof Weak && ((Weak) other).get() == of;
        }
    }
}
