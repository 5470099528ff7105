package dev.vetch;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * Writes a class file (JVMS chapter 4) anew with a few instructions before a method:
 *
 * <pre>if (Hook.on()) return Hook.twin(this, arguments...);</pre>
 *
 * Nothing is inserted anywhere else, so that no jump changes; what counts from the method's begin is moved.
 */
final class Patch {
    private static final String PACKAGE = "sun/security/ssl/";
    private static final String BUFFER = "Ljava/nio/ByteBuffer;", RESULT = "Ljavax/net/ssl/SSLEngineResult;";
    private static final String ENGINE = "Ljavax/net/ssl/SSLEngine;", INPUT = "Ljava/io/InputStream;", OUTPUT = "Ljava/io/OutputStream;";
    /** Class, method, its arguments and result, and as what the twin takes the object itself. */
    private static final String[][] METHODS = {
        {PACKAGE + "SSLEngineImpl", "wrap", "[" + BUFFER + "II" + BUFFER + ")" + RESULT, ENGINE},
        {PACKAGE + "SSLEngineImpl", "unwrap", BUFFER + "[" + BUFFER + "II)" + RESULT, ENGINE},
        {PACKAGE + "SSLSocketImpl$AppInputStream", "read", "[BII)I", INPUT},
        {PACKAGE + "SSLSocketImpl$AppOutputStream", "write", "[BII)V", OUTPUT},
    };

    private static int changed; // methods

    private final DataInputStream in;
    private final ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    private final DataOutputStream out = new DataOutputStream(bytes);
    private final Map<Integer, String> texts = new HashMap<>(); // of the constant pool
    private final Map<Integer, Integer> names = new HashMap<>(); // of its classes
    private final ByteArrayOutputStream added = new ByteArrayOutputStream(); // to the pool
    private final DataOutputStream constants = new DataOutputStream(added);
    private int count; // of the pool's entries

    private Patch(byte[] file) {
        in = new DataInputStream(new ByteArrayInputStream(file));
    }

    /** The classes that are to be changed, loaded but not initialised. */
    static Class<?>[] targets() throws ClassNotFoundException {
        List<Class<?>> list = new ArrayList<>();
        for (String[] m : METHODS) {
            Class<?> c = Class.forName(m[0].replace('/', '.'), false, null);
            if (!list.contains(c)) {
                list.add(c);
            }
        }
        return list.toArray(new Class<?>[0]);
    }

    /** Whether all methods were found and changed. */
    static boolean whole() {
        return changed == METHODS.length;
    }

    /** Leaves a class as it is, which undoes what patch() made of it. */
    static byte[] restore(byte[] file) {
        return file;
    }

    static byte[] patch(byte[] file) throws IOException {
        return new Patch(file).rewrite();
    }

    private byte[] rewrite() throws IOException {
        long head = in.readLong(); // magic and version
        ByteArrayOutputStream pool = readConstants();
        int access = in.readUnsignedShort(), self = in.readUnsignedShort();
        String name = texts.get(names.get(self));
        out.writeShort(access);
        out.writeShort(self);
        out.writeShort(in.readUnsignedShort()); // super class
        copyShorts();
        copyMembers(null); // fields
        copyMembers(name);
        int n;
        byte[] rest = new byte[4096];
        while ((n = in.read(rest)) > 0) {
            out.write(rest, 0, n);
        }
        ByteArrayOutputStream file = new ByteArrayOutputStream();
        DataOutputStream whole = new DataOutputStream(file);
        whole.writeLong(head);
        whole.writeShort(count);
        pool.writeTo(whole);
        added.writeTo(whole);
        bytes.writeTo(whole);
        return file.toByteArray();
    }

    private ByteArrayOutputStream readConstants() throws IOException {
        ByteArrayOutputStream copy = new ByteArrayOutputStream();
        DataOutputStream pool = new DataOutputStream(copy);
        count = in.readUnsignedShort();
        for (int i = 1; i < count; i++) {
            int tag = in.readUnsignedByte();
            pool.writeByte(tag);
            if (tag == 1) { // Utf8
                String text = in.readUTF();
                texts.put(i, text);
                pool.writeUTF(text);
            } else if (tag == 7) { // Class
                int name = in.readUnsignedShort();
                names.put(i, name);
                pool.writeShort(name);
            } else {
                byte[] data = new byte[sizeOf(tag)];
                in.readFully(data);
                pool.write(data);
                if (tag == 5 || tag == 6) { // Long and Double take two places
                    i++;
                }
            }
        }
        return copy;
    }

    private static int sizeOf(int tag) throws IOException {
        switch (tag) {
            case 8: case 16: case 19: case 20: // String, MethodType, Module, Package
                return 2;
            case 15: // MethodHandle
                return 3;
            case 3: case 4: case 9: case 10: case 11: case 12: case 17: case 18:
                return 4;
            case 5: case 6:
                return 8;
            default:
                throw new IOException("constant of kind " + tag);
        }
    }

    private void copyShorts() throws IOException {
        int n = in.readUnsignedShort();
        out.writeShort(n);
        for (int i = 0; i < n; i++) {
            out.writeShort(in.readUnsignedShort());
        }
    }

    /** Copies fields, or the methods of the named class. */
    private void copyMembers(String owner) throws IOException {
        int n = in.readUnsignedShort();
        out.writeShort(n);
        for (int i = 0; i < n; i++) {
            out.writeShort(in.readUnsignedShort());
            int name = in.readUnsignedShort(), type = in.readUnsignedShort(), attributes = in.readUnsignedShort();
            out.writeShort(name);
            out.writeShort(type);
            out.writeShort(attributes);
            String[] method = wanted(owner, texts.get(name), texts.get(type));
            for (int a = 0; a < attributes; a++) {
                int kind = in.readUnsignedShort();
                byte[] data = new byte[in.readInt()];
                in.readFully(data);
                if (method != null && "Code".equals(texts.get(kind))) {
                    data = new Code(data).before(call(method));
                    changed++;
                }
                out.writeShort(kind);
                out.writeInt(data.length);
                out.write(data);
            }
        }
    }

    private static String[] wanted(String owner, String name, String type) {
        for (String[] m : METHODS) {
            if (m[0].equals(owner) && m[1].equals(name) && type.equals("(" + m[2])) {
                return m;
            }
        }
        return null;
    }

    /** The instructions that go before a method: a multiple of four, for the tables of switches are aligned. */
    private byte[] call(String[] method) throws IOException {
        int hook = constant(7, text("dev/vetch/Hook"), -1);
        int on = constant(10, hook, constant(12, text("on"), text("()Z")));
        int twin = constant(10, hook, constant(12, text(method[1]), text("(" + method[3] + method[2])));
        ByteArrayOutputStream loads = new ByteArrayOutputStream();
        loads.write(0x2a); // aload_0
        int slot = 1;
        for (int i = 0; method[2].charAt(i) != ')'; i++) {
            boolean number = method[2].charAt(i) == 'I';
            while (method[2].charAt(i) == '[') {
                i++;
            }
            if (method[2].charAt(i) == 'L') {
                i = method[2].indexOf(';', i);
            }
            loads.write(number ? 0x15 : 0x19); // iload, aload
            loads.write(slot++);
        }
        char result = method[2].charAt(method[2].indexOf(')') + 1);
        int pad = -(3 + 3 + loads.size() + 3 + 1) & 3;
        ByteArrayOutputStream code = new ByteArrayOutputStream();
        DataOutputStream to = new DataOutputStream(code);
        for (int i = 0; i < pad; i++) {
            to.writeByte(0); // nop
        }
        to.writeByte(0xb8); // invokestatic
        to.writeShort(on);
        to.writeByte(0x99); // ifeq: go on behind all this
        to.writeShort(3 + loads.size() + 3 + 1);
        loads.writeTo(to);
        to.writeByte(0xb8);
        to.writeShort(twin);
        to.writeByte(result == 'V' ? 0xb1 : result == 'I' ? 0xac : 0xb0); // return, ireturn, areturn
        return code.toByteArray();
    }

    private int constant(int tag, int first, int second) throws IOException {
        constants.writeByte(tag);
        constants.writeShort(first);
        if (second >= 0) {
            constants.writeShort(second);
        }
        return next();
    }

    private int text(String text) throws IOException {
        constants.writeByte(1);
        constants.writeUTF(text);
        return next();
    }

    private int next() throws IOException {
        if (count >= 65535) {
            throw new IOException("too many constants");
        }
        return count++;
    }

    /** The attribute Code of one method. */
    private final class Code {
        private final DataInputStream code;
        private final ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        private final DataOutputStream to = new DataOutputStream(bytes);
        private int shift;

        Code(byte[] data) {
            code = new DataInputStream(new ByteArrayInputStream(data));
        }

        byte[] before(byte[] prefix) throws IOException {
            shift = prefix.length;
            to.writeShort(Math.max(code.readUnsignedShort(), 5)); // the stack holds the arguments
            to.writeShort(code.readUnsignedShort()); // locals
            byte[] instructions = new byte[code.readInt()];
            code.readFully(instructions);
            if (instructions.length + shift > 65535) {
                throw new IOException("the method is too long");
            }
            to.writeInt(instructions.length + shift);
            to.write(prefix);
            to.write(instructions);
            int n = code.readUnsignedShort();
            to.writeShort(n);
            for (int i = 0; i < n; i++) { // exceptions: begin, end and handler
                move();
                move();
                move();
                copy(2);
            }
            attributes();
            return bytes.toByteArray();
        }

        private void move() throws IOException {
            to.writeShort(code.readUnsignedShort() + shift);
        }

        private void copy(int n) throws IOException {
            byte[] data = new byte[n];
            code.readFully(data);
            to.write(data);
        }

        /** Moves the tables that are known, and leaves the others out: they are annotations and the like. */
        private void attributes() throws IOException {
            int n = code.readUnsignedShort(), kept = 0;
            boolean framed = false;
            ByteArrayOutputStream list = new ByteArrayOutputStream();
            DataOutputStream all = new DataOutputStream(list);
            for (int i = 0; i < n; i++) {
                int kind = code.readUnsignedShort();
                String name = String.valueOf(texts.get(kind));
                byte[] data = new byte[code.readInt()];
                code.readFully(data);
                Code table = new Code(data);
                table.shift = shift;
                if (name.equals("StackMapTable")) {
                    framed = true;
                    table.frames();
                } else if (name.equals("LineNumberTable")) {
                    table.rows(2);
                } else if (name.equals("LocalVariableTable") || name.equals("LocalVariableTypeTable")) {
                    table.rows(8);
                } else {
                    continue;
                }
                kept++;
                write(all, kind, table);
            }
            if (!framed) {
                Code table = new Code(new byte[2]);
                table.shift = shift;
                table.frames();
                kept++;
                write(all, text("StackMapTable"), table);
            }
            to.writeShort(kept);
            list.writeTo(to);
        }

        private void write(DataOutputStream all, int kind, Code table) throws IOException {
            all.writeShort(kind);
            all.writeInt(table.bytes.size());
            table.bytes.writeTo(all);
        }

        /** A table whose rows begin with a place, and have more bytes behind it. */
        private void rows(int more) throws IOException {
            int n = code.readUnsignedShort();
            to.writeShort(n);
            for (int i = 0; i < n; i++) {
                move();
                copy(more);
            }
        }

        /** StackMapTable, JVMS 4.7.4, with a frame more where the method began. A frame's place counts from the one before. */
        private void frames() throws IOException {
            int n = code.readUnsignedShort();
            ByteArrayOutputStream list = new ByteArrayOutputStream();
            DataOutputStream header = new DataOutputStream(list);
            boolean loop = false;
            for (int i = 0; i < n; i++) {
                int kind = code.readUnsignedByte();
                boolean wide = kind >= 247;
                int delta = wide ? code.readUnsignedShort() : kind & 63;
                if (i == 0) {
                    loop = delta == 0; // it begins with a frame already
                    delta += loop ? shift : -1;
                }
                if (wide) {
                    to.writeByte(kind);
                    to.writeShort(delta);
                } else {
                    to.writeByte(kind & 64 | delta);
                }
                frame(kind);
            }
            header.writeShort(loop ? n : n + 1);
            if (!loop) {
                header.writeByte(shift); // same_frame
            }
            bytes.writeTo(header);
            bytes.reset();
            list.writeTo(to);
        }

        private void frame(int kind) throws IOException {
            if (kind >= 64 && kind < 128 || kind == 247) {
                types(1);
            } else if (kind >= 252 && kind < 255) {
                types(kind - 251);
            } else if (kind == 255) {
                for (int i = 0; i < 2; i++) { // locals and stack
                    int n = code.readUnsignedShort();
                    to.writeShort(n);
                    types(n);
                }
            } else if (kind >= 128 && kind < 247) {
                throw new IOException("frame of kind " + kind);
            }
        }

        private void types(int n) throws IOException {
            for (int i = 0; i < n; i++) {
                int tag = code.readUnsignedByte();
                to.writeByte(tag);
                if (tag == 8) { // an object that is not initialised, by the place of its "new"
                    move();
                } else if (tag == 7) {
                    copy(2);
                }
            }
        }
    }
}
