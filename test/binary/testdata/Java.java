import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpsConfigurator;
import com.sun.net.httpserver.HttpsServer;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.URL;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyFactory;
import java.security.KeyStore;
import java.security.PrivateKey;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import javax.net.ssl.HttpsURLConnection;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLServerSocket;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.TrustManager;
import javax.net.ssl.X509TrustManager;

/** Speaks HTTPS by JSSE in the ways that programs in Java do. Clients ask once for each line on standard input, and answer with a line. */
public class Java {
    public static void main(String[] args) throws Exception {
        SSLContext tls = context(Path.of(args[1]));
        InetSocketAddress address = new InetSocketAddress(args[2], Integer.parseInt(args[3]));
        switch (args[0]) {
            case "engine-server" -> engineServer(tls, address);
            case "socket-server" -> socketServer(tls, address, Executors.newCachedThreadPool());
            case "virtual-server" -> socketServer(tls, address, virtualThreads());
            default -> client(args[0], tls, "https://" + args[2] + ":" + args[3], address);
        }
    }

    /** By reflection, for Java 17 has none. */
    static ExecutorService virtualThreads() throws Exception {
        return (ExecutorService) Executors.class.getMethod("newVirtualThreadPerTaskExecutor").invoke(null);
    }

    static SSLContext context(Path dir) throws Exception {
        Certificate cert = CertificateFactory.getInstance("X.509").generateCertificate(Files.newInputStream(dir.resolve("cert.pem")));
        String pem = Files.readString(dir.resolve("key.pem")).replaceAll("-----[A-Z ]+-----", "").replaceAll("\\s", "");
        PrivateKey key = KeyFactory.getInstance("EC").generatePrivate(new PKCS8EncodedKeySpec(Base64.getDecoder().decode(pem)));
        KeyStore store = KeyStore.getInstance("PKCS12");
        store.load(null, null);
        store.setKeyEntry("key", key, new char[0], new Certificate[] {cert});
        KeyManagerFactory keys = KeyManagerFactory.getInstance("SunX509");
        keys.init(store, new char[0]);
        SSLContext tls = SSLContext.getInstance("TLS");
        tls.init(keys.getKeyManagers(), new TrustManager[] {new X509TrustManager() {
            public void checkClientTrusted(X509Certificate[] chain, String kind) {}
            public void checkServerTrusted(X509Certificate[] chain, String kind) {}
            public X509Certificate[] getAcceptedIssuers() { return new X509Certificate[0]; }
        }}, null);
        return tls;
    }

    static void engineServer(SSLContext tls, InetSocketAddress address) throws Exception {
        HttpsServer server = HttpsServer.create(address, 0);
        server.setHttpsConfigurator(new HttpsConfigurator(tls));
        server.setExecutor(Executors.newCachedThreadPool());
        server.createContext("/", Java::answer);
        server.start();
    }

    static void answer(HttpExchange exchange) throws IOException {
        exchange.getRequestBody().readAllBytes();
        String path = exchange.getRequestURI().getPath();
        byte[] body = (path.equals("/long") ? "0123456789".repeat(30000) : "fine").getBytes(StandardCharsets.UTF_8);
        exchange.sendResponseHeaders(path.equals("/no") ? 404 : 200, path.equals("/long") ? 0 : body.length);
        try (OutputStream out = exchange.getResponseBody()) {
            out.write(body);
        }
    }

    static void socketServer(SSLContext tls, InetSocketAddress address, ExecutorService threads) throws Exception {
        SSLServerSocket server = (SSLServerSocket) tls.getServerSocketFactory().createServerSocket(address.getPort(), 100, address.getAddress());
        while (true) {
            SSLSocket socket = (SSLSocket) server.accept();
            threads.submit(() -> serve(socket));
        }
    }

    static void serve(SSLSocket socket) {
        try (socket) {
            InputStream in = socket.getInputStream();
            OutputStream out = socket.getOutputStream();
            for (String head = head(in); head != null; head = head(in)) {
                String body = head.startsWith("GET /long") ? "0123456789".repeat(30000) : "fine";
                String code = head.startsWith("GET /no") ? "404 Not Found" : "200 OK";
                out.write(("HTTP/1.1 " + code + "\r\nContent-Length: " + body.length() + "\r\n\r\n" + body).getBytes(StandardCharsets.UTF_8));
            }
        } catch (IOException e) {
            System.err.println(e);
        }
    }

    /** The head of a request; null at the end. */
    static String head(InputStream in) throws IOException {
        ByteArrayOutputStream head = new ByteArrayOutputStream();
        byte[] some = new byte[100];
        while (!head.toString(StandardCharsets.UTF_8).endsWith("\r\n\r\n")) {
            int n = in.read(some);
            if (n < 0) {
                return null;
            }
            head.write(some, 0, n);
        }
        return head.toString(StandardCharsets.UTF_8);
    }

    interface Asker {
        int ask(String path) throws Exception;
    }

    static void client(String kind, SSLContext tls, String url, InetSocketAddress address) throws Exception {
        HttpsURLConnection.setDefaultSSLSocketFactory(tls.getSocketFactory());
        HttpsURLConnection.setDefaultHostnameVerifier((host, session) -> true);
        HttpClient http = HttpClient.newBuilder().sslContext(tls)
            .version(kind.equals("http2-client") ? HttpClient.Version.HTTP_2 : HttpClient.Version.HTTP_1_1).build();
        Asker asker = switch (kind) {
            case "url-client" -> path -> byURL(url + path);
            case "http-client", "http2-client" -> path -> http.send(request(url + path), HttpResponse.BodyHandlers.ofByteArray()).statusCode();
            case "socket-client" -> path -> bySocket(tls, address, path, 5);
            default -> throw new IllegalArgumentException(kind);
        };
        byte[] line = new byte[256];
        System.out.println("ready");
        for (int n = System.in.read(line); n > 0; n = System.in.read(line)) {
            String[] words = new String(line, 0, n, StandardCharsets.UTF_8).trim().split(" "); // threads, requests of each, paths...
            System.out.println(ask(asker, Integer.parseInt(words[0]), Integer.parseInt(words[1]), words));
        }
    }

    static String ask(Asker asker, int threads, int each, String[] words) throws Exception {
        ExecutorService pool = Executors.newFixedThreadPool(threads, task -> {
            Thread thread = new Thread(task);
            thread.setDaemon(true);
            return thread;
        });
        List<Future<Integer>> all = new ArrayList<>();
        for (int t = 0; t < threads; t++) {
            all.add(pool.submit(() -> {
                int sum = 0;
                for (int i = 0; i < each; i++) {
                    for (int p = 2; p < words.length; p++) {
                        sum += asker.ask(words[p]);
                    }
                }
                return sum;
            }));
        }
        int sum = 0;
        for (Future<Integer> f : all) {
            sum += f.get();
        }
        pool.shutdown();
        return "codes " + sum;
    }

    static HttpRequest request(String url) {
        return HttpRequest.newBuilder(URI.create(url)).build();
    }

    static int byURL(String url) throws IOException {
        HttpsURLConnection c = (HttpsURLConnection) new URL(url).openConnection();
        int code = c.getResponseCode();
        try (InputStream in = code < 400 ? c.getInputStream() : c.getErrorStream()) {
            in.readAllBytes();
        }
        return code;
    }

    /** Asks for the same a few times on one connection. */
    static int bySocket(SSLContext tls, InetSocketAddress address, String path, int times) throws IOException {
        int sum = 0;
        try (SSLSocket socket = (SSLSocket) tls.getSocketFactory().createSocket(address.getAddress(), address.getPort())) {
            for (int i = 0; i < times; i++) {
                socket.getOutputStream().write(("GET " + path + " HTTP/1.1\r\nHost: x\r\n\r\n").getBytes(StandardCharsets.UTF_8));
                sum += answered(socket.getInputStream());
            }
        }
        return sum;
    }

    /** Reads an answer, byte by byte as far as its head goes, and returns its code. */
    static int answered(InputStream in) throws IOException {
        StringBuilder head = new StringBuilder();
        while (head.indexOf("\r\n\r\n") < 0) {
            head.append((char) in.read());
        }
        String length = head.substring(head.indexOf("Length: ") + 8, head.indexOf("\r\n\r\n"));
        in.readNBytes(Integer.parseInt(length));
        return Integer.parseInt(head.substring(9, 12));
    }
}
