/* What vetch loads into a JVM that does TLS in Java (JSSE): a JVMTI agent that needs no C library, so that one file serves glibc and musl. It
   carries the classes beside it, changes four methods of JSSE by them once, and holds the places on which the kernel's probes sit. */
#include <jni.h>
#include <jvmti.h>
#include <stddef.h>

/* How many probes sit here: the kernel adds and takes off as they come and go (the reference counter of uprobe_register). It stands in a
   page that the file backs, as the kernel wants it. While it is 0 the changed methods go straight on. Behind it stands whether all is done:
   agent/java reads that in the memory of the JVM. */
__attribute__((section(".probes"), visibility("protected"), used)) volatile struct {
	unsigned short count, done;
} vetch_java_probes = {0, 0};

#define PROBED __attribute__((visibility("protected"), noinline, noipa, used))

/* bytes bytes at data were read from or written to a session, with flags of Hook.java; where tells which connection that is. */
PROBED void vetch_java_plain(jlong session, const void *data, jlong bytes, jlong flags, jlong where)
{
	(void)session, (void)data, (void)bytes, (void)flags, (void)where;
	__asm__ volatile("nop"); /* which the kernel need not run where a probe sits */
}

/* A hook did what it must not, and all of them are off in this process. */
PROBED void vetch_java_off(void)
{
	__asm__ volatile("nop");
}

/* Results of Agent_OnAttach; agent/java/answer.go has names for them. */
enum { DONE = 0, TOO_EARLY = 200, ALREADY_THERE, NO_JVMTI, NO_CAPABILITY, NO_CLASSES, NO_NATIVES, NOT_STARTED, NO_TARGETS, NOT_CHANGED };

/* The compiled classes beside this file, by what they are called here and in Java. */
#define ALL_CLASSES(CLASS) \
	CLASS(state, "State") CLASS(states, "State$Local") CLASS(session, "Session") CLASS(weak, "Session$Weak") CLASS(key, "Session$Key") \
	CLASS(sessions, "Sessions") CLASS(code, "Patch$Code") CLASS(patch, "Patch") CLASS(hook, "Hook")
#define INCLUDED(symbol, name) \
	extern const jbyte symbol##_begin[], symbol##_end[]; \
	__asm__(".section .rodata\n.balign 8\n" #symbol "_begin:\n.incbin \"" name ".class\"\n" #symbol "_end:\n.previous\n");
#define LISTED(symbol, name) {"dev/vetch/" name, symbol##_begin, symbol##_end},
ALL_CLASSES(INCLUDED)

static const struct {
	const char *name;
	const jbyte *begin, *end;
} classes[] = {ALL_CLASSES(LISTED)};

static jclass patcher;
static jmethodID patch;

/* Whether a call left an exception, which is then forgotten. */
static int threw(JNIEnv *env)
{
	if (!(*env)->ExceptionCheck(env))
		return 0;
	(*env)->ExceptionClear(env);
	return 1;
}

static void JNICALL plain(JNIEnv *env, jclass c, jlong session, jint flags, jbyteArray array, jint offset, jint bytes, jlong where)
{
	jbyte *at;

	(void)c;
	if (!array || bytes <= 0) {
		vetch_java_plain(session, NULL, bytes, flags, where);
		return;
	}
	/* neither copied nor held for longer than the probe takes */
	at = (*env)->GetPrimitiveArrayCritical(env, array, NULL);
	vetch_java_plain(session, at ? at + offset : NULL, bytes, flags, where);
	if (at)
		(*env)->ReleasePrimitiveArrayCritical(env, array, at, JNI_ABORT);
}

static void JNICALL plain_direct(JNIEnv *env, jclass c, jlong session, jint flags, jobject buffer, jint offset, jint bytes, jlong where)
{
	char *at = (*env)->GetDirectBufferAddress(env, buffer);

	(void)c;
	vetch_java_plain(session, at ? at + offset : NULL, bytes, flags, where);
}

static void JNICALL switched_off(JNIEnv *env, jclass c)
{
	(void)env, (void)c;
	vetch_java_off();
}

/* The value of a field, NULL where there is none. */
static jobject field(JNIEnv *env, jobject of, const char *name, const char *type)
{
	jfieldID id;

	if (!of)
		return NULL;
	id = (*env)->GetFieldID(env, (*env)->GetObjectClass(env, of), name, type);
	if (threw(env))
		return NULL;
	return (*env)->GetObjectField(env, of, id);
}

/* The SSLSocketImpl of one of its two streams. */
static jobject JNICALL socket_of(JNIEnv *env, jclass c, jobject stream)
{
	(void)c;
	return field(env, stream, "this$0", "Lsun/security/ssl/SSLSocketImpl;");
}

/* The descriptor of the socket that an SSLSocketImpl is on: its own, or that of one which it was given; -1 where it has none. JNI sees
   private fields, so that no module has to be opened. */
static jint JNICALL descriptor(JNIEnv *env, jclass c, jobject socket)
{
	jobject inner = field(env, socket, "self", "Ljava/net/Socket;"), impl, fd;
	jmethodID get;
	jfieldID number;

	(void)c;
	impl = field(env, inner, "impl", "Ljava/net/SocketImpl;");
	if (!impl)
		return -1;
	get = (*env)->GetMethodID(env, (*env)->GetObjectClass(env, impl), "getFileDescriptor", "()Ljava/io/FileDescriptor;");
	if (threw(env))
		return -1;
	fd = (*env)->CallObjectMethod(env, impl, get);
	if (threw(env) || !fd)
		return -1;
	number = (*env)->GetFieldID(env, (*env)->GetObjectClass(env, fd), "fd", "I");
	return threw(env) ? -1 : (*env)->GetIntField(env, fd, number);
}

static int same(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return *a == *b;
}

/* The JVM offers the bytes of a class. Only those that are being changed by start() are looked at. */
static void JNICALL offered(jvmtiEnv *jvmti, JNIEnv *env, jclass changing, jobject loader, const char *name, jobject domain, jint bytes,
			    const unsigned char *data, jint *new_bytes, unsigned char **new_data)
{
	jbyteArray in, out;
	jsize n;

	(void)domain;
	if (!changing || loader || !name || !(same(name, "sun/security/ssl/SSLEngineImpl") ||
					      same(name, "sun/security/ssl/SSLSocketImpl$AppInputStream") ||
					      same(name, "sun/security/ssl/SSLSocketImpl$AppOutputStream")))
		return;
	in = (*env)->NewByteArray(env, bytes);
	if (threw(env) || !in)
		return;
	(*env)->SetByteArrayRegion(env, in, 0, bytes, (const jbyte *)data);
	out = (*env)->CallStaticObjectMethod(env, patcher, patch, in);
	if (threw(env) || !out)
		return;
	n = (*env)->GetArrayLength(env, out);
	if ((*jvmti)->Allocate(jvmti, n, new_data) != JVMTI_ERROR_NONE)
		return;
	(*env)->GetByteArrayRegion(env, out, 0, n, (jbyte *)*new_data);
	*new_bytes = n;
}

/* Has the JVM take classes anew. */
static jvmtiError change(jvmtiEnv *jvmti, JNIEnv *env, jobjectArray targets)
{
	jclass list[8];
	jsize n = (*env)->GetArrayLength(env, targets);
	jvmtiError e;

	if (n > 8)
		return JVMTI_ERROR_ILLEGAL_ARGUMENT;
	for (jsize i = 0; i < n; i++)
		list[i] = (*env)->GetObjectArrayElement(env, targets, i);
	e = (*jvmti)->SetEventNotificationMode(jvmti, JVMTI_ENABLE, JVMTI_EVENT_CLASS_FILE_LOAD_HOOK, NULL);
	if (e == JVMTI_ERROR_NONE)
		e = (*jvmti)->RetransformClasses(jvmti, n, list);
	(*jvmti)->SetEventNotificationMode(jvmti, JVMTI_DISABLE, JVMTI_EVENT_CLASS_FILE_LOAD_HOOK, NULL);
	return e;
}

/* Changes all methods, or none of them. */
static jint change_all(jvmtiEnv *jvmti, JNIEnv *env)
{
	jmethodID targets, whole;
	jobjectArray list;

	targets = (*env)->GetStaticMethodID(env, patcher, "targets", "()[Ljava/lang/Class;");
	if (threw(env))
		return NO_TARGETS;
	list = (*env)->CallStaticObjectMethod(env, patcher, targets);
	if (threw(env) || !list)
		return NO_TARGETS;
	patch = (*env)->GetStaticMethodID(env, patcher, "patch", "([B)[B");
	if (threw(env))
		return NO_TARGETS;
	whole = (*env)->GetStaticMethodID(env, patcher, "whole", "()Z");
	if (threw(env))
		return NO_TARGETS;
	if (change(jvmti, env, list) == JVMTI_ERROR_NONE && (*env)->CallStaticBooleanMethod(env, patcher, whole) && !threw(env))
		return DONE;
	threw(env);
	patch = (*env)->GetStaticMethodID(env, patcher, "restore", "([B)[B");
	if (!threw(env))
		change(jvmti, env, list);
	return NOT_CHANGED;
}

/* Gives the JVM our classes, as classes of its own: JSSE would not find those of the program's. */
static jint define(JNIEnv *env, jclass *hook)
{
	static const JNINativeMethod natives[] = {
		{"plain", "(JI[BIIJ)V", (void *)plain}, {"plainDirect", "(JILjava/nio/ByteBuffer;IIJ)V", (void *)plain_direct},
		{"switchedOff", "()V", (void *)switched_off}, {"socketOf", "(Ljava/lang/Object;)Ljava/lang/Object;", (void *)socket_of},
		{"descriptor", "(Ljava/lang/Object;)I", (void *)descriptor},
	};

	*hook = (*env)->FindClass(env, "dev/vetch/Hook");
	if (!threw(env) && *hook)
		return ALREADY_THERE;
	for (unsigned i = 0; i < sizeof(classes) / sizeof(classes[0]); i++) {
		*hook = (*env)->DefineClass(env, classes[i].name, NULL, classes[i].begin, classes[i].end - classes[i].begin);
		if (threw(env) || !*hook)
			return NO_CLASSES;
		if (same(classes[i].name, "dev/vetch/Patch"))
			patcher = (*env)->NewGlobalRef(env, *hook);
	}
	(*env)->RegisterNatives(env, *hook, natives, sizeof(natives) / sizeof(natives[0]));
	return threw(env) || !patcher ? NO_NATIVES : DONE;
}

/* Tells the hooks where the counter of probes is. From then on they may be called. */
static jint start(JNIEnv *env, jclass hook)
{
	jmethodID begin = (*env)->GetStaticMethodID(env, hook, "start", "(Ljava/nio/ByteBuffer;)V");
	jobject counter;

	if (threw(env))
		return NOT_STARTED;
	counter = (*env)->NewDirectByteBuffer(env, (void *)&vetch_java_probes.count, sizeof(vetch_java_probes.count));
	if (threw(env) || !counter)
		return NOT_STARTED;
	(*env)->CallStaticVoidMethod(env, hook, begin, counter);
	return threw(env) ? NOT_STARTED : DONE;
}

__attribute__((visibility("default"))) JNIEXPORT jint JNICALL Agent_OnAttach(JavaVM *vm, char *options, void *reserved)
{
	static const jvmtiEventCallbacks callbacks = {.ClassFileLoadHook = offered};
	static const jvmtiCapabilities capabilities = {.can_retransform_classes = 1};
	jvmtiPhase phase;
	jvmtiEnv *jvmti;
	JNIEnv *env;
	jclass hook;
	jint result;

	(void)options, (void)reserved;
	if ((*vm)->GetEnv(vm, (void **)&env, JNI_VERSION_1_6) != JNI_OK)
		return NO_JVMTI;
	if ((*vm)->GetEnv(vm, (void **)&jvmti, JVMTI_VERSION_1_1) != JNI_OK)
		return TOO_EARLY; /* there is none yet */
	if ((*jvmti)->GetPhase(jvmti, &phase) != JVMTI_ERROR_NONE || phase != JVMTI_PHASE_LIVE) {
		(*jvmti)->DisposeEnvironment(jvmti);
		return TOO_EARLY;
	}
	result = NO_CAPABILITY;
	if ((*jvmti)->AddCapabilities(jvmti, &capabilities) == JVMTI_ERROR_NONE &&
	    (*jvmti)->SetEventCallbacks(jvmti, &callbacks, sizeof(callbacks)) == JVMTI_ERROR_NONE) {
		result = define(env, &hook);
		if (result == DONE)
			result = start(env, hook);
		if (result == DONE)
			result = change_all(jvmti, env);
	}
	(*jvmti)->DisposeEnvironment(jvmti); /* what was changed stays */
	vetch_java_probes.done = result == DONE;
	return result;
}
