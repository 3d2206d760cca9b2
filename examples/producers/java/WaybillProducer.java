import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.Producer;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.header.Headers;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Puts jobs onto a job topic of Waybill; docs/wire.md is the format. Safe for concurrent use, as KafkaProducer is.
 *
 * <p>What becomes of a job: its future completes, then all in-sync replicas have it; or it fails, then the job may have been
 * written or not. Enqueue it again then, with the same kind, key, id and payload bytes: it is still one job.
 */
public final class WaybillProducer implements AutoCloseable {
    /**
     * A job. The key orders jobs and chooses the partition; null stands for the id, which orders nothing but the job itself.
     * A null id is made from kind, key and payload, so that the same arguments twice are one job. A null content type is any;
     * a null notBefore is now.
     */
    public record Job(String kind, byte[] key, String id, byte[] payload, String contentType, Instant notBefore) {
        public Job {
            id = id != null ? id : deterministicId(kind, key, payload);
            key = key != null ? key : utf8(id);
            check("kind", kind, 200, true);
            check("id", id, 512, false);
        }

        /** What the handler gets as its idempotency key. */
        public String identity() {
            return HexFormat.of().formatHex(WaybillProducer.identity(kind, key, utf8(id)));
        }
    }

    /** Where a job was written. */
    public record Enqueued(Job job, int partition, long offset) {}

    private final Producer<byte[], byte[]> kafka;
    private final String topic;

    /** Connects to a cluster. What config holds besides (TLS, SASL) is passed on; what the format needs is set here. */
    public WaybillProducer(String bootstrapServers, String topic, Map<String, Object> config) {
        var all = new Properties();
        all.putAll(config);
        all.put(ProducerConfig.BOOTSTRAP_SERVERS_CONFIG, bootstrapServers);
        all.put(ProducerConfig.ACKS_CONFIG, "all");
        all.put(ProducerConfig.ENABLE_IDEMPOTENCE_CONFIG, true);
        // The default partitioner is the one that counts: murmur2 of the key.
        all.remove(ProducerConfig.PARTITIONER_CLASS_CONFIG);
        all.put(ProducerConfig.PARTITIONER_IGNORE_KEYS_CONFIG, false);
        this.kafka = new KafkaProducer<>(all, new ByteArraySerializer(), new ByteArraySerializer());
        this.topic = topic;
    }

    public CompletableFuture<Enqueued> enqueue(Job job) {
        var record = new ProducerRecord<>(topic, job.key(), job.payload());
        Headers headers = record.headers();
        headers.add("waybill-kind", utf8(job.kind()));
        headers.add("waybill-id", utf8(job.id()));
        if (job.contentType() != null) {
            headers.add("content-type", utf8(job.contentType()));
        }
        if (job.notBefore() != null) {
            headers.add("waybill-at", utf8(job.notBefore().toString())); // RFC 3339
        }
        var result = new CompletableFuture<Enqueued>();
        kafka.send(record, (where, error) -> {
            if (error != null) {
                result.completeExceptionally(error);
            } else {
                result.complete(new Enqueued(job, where.partition(), where.offset()));
            }
        });
        return result;
    }

    /** Waits for what is under way. */
    @Override
    public void close() {
        kafka.close();
    }

    /** The first 16 bytes of the SHA-256 of kind, key and id, each told apart from the next. */
    static byte[] identity(String kind, byte[] key, byte[] id) {
        var input = new ByteArrayOutputStream();
        byte[] name = utf8(kind);
        writeLength(input, name.length);
        input.writeBytes(name);
        writeLength(input, key == null ? 0 : key.length + 1);
        input.writeBytes(key == null ? new byte[0] : key);
        input.writeBytes(id);
        try {
            return Arrays.copyOf(MessageDigest.getInstance("SHA-256").digest(input.toByteArray()), 16);
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException(e); // every Java has it
        }
    }

    /** A UUID of version 8 that follows from kind, key and payload. */
    static String deterministicId(String kind, byte[] key, byte[] payload) {
        byte[] b = identity(kind, key, payload == null ? new byte[0] : payload);
        b[6] = (byte) (b[6] & 0x0f | 0x80);
        b[8] = (byte) (b[8] & 0x3f | 0x80);
        var halves = ByteBuffer.wrap(b);
        return new UUID(halves.getLong(), halves.getLong()).toString();
    }

    /** LEB128: seven bits a byte, lowest first. */
    private static void writeLength(ByteArrayOutputStream out, int n) {
        for (; n >= 0x80; n >>>= 7) {
            out.write(n & 0x7f | 0x80);
        }
        out.write(n);
    }

    private static void check(String what, String text, int limit, boolean word) {
        int n = utf8(text).length;
        if (n == 0 || n > limit) {
            throw new IllegalArgumentException(what + " has " + n + " bytes, not 1 to " + limit);
        }
        if (text.chars().anyMatch(c -> c < 0x20 || c == 0x7f || word && c == ' ')) {
            throw new IllegalArgumentException(what + " contains white space or a control character: " + text);
        }
    }

    private static byte[] utf8(String s) {
        return s.getBytes(StandardCharsets.UTF_8);
    }

    /**
     * Enqueues jobs from standard input, one a line: kind, key, id, JSON payload and the earliest time, separated by tabs; key,
     * id and time may be empty. Writes id, identity, partition and offset of each.
     */
    public static void main(String[] args) throws Exception {
        if (args.length != 2) {
            System.err.println("usage: WaybillProducer BOOTSTRAP_SERVERS TOPIC < jobs.tsv");
            System.exit(2);
        }
        var in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        var out = new PrintStream(System.out, false, StandardCharsets.UTF_8);
        boolean failed = false;
        try (var producer = new WaybillProducer(args[0], args[1], Map.of())) {
            List<CompletableFuture<Enqueued>> pending = new ArrayList<>();
            for (String line; (line = in.readLine()) != null; ) {
                String[] field = line.split("\t", -1);
                pending.add(producer.enqueue(new Job(field[0], field[1].isEmpty() ? null : utf8(field[1]), field[2].isEmpty() ? null : field[2],
                        utf8(field[3]), "application/json", field.length < 5 || field[4].isEmpty() ? null : Instant.parse(field[4]))));
            }
            for (var future : pending) {
                try {
                    Enqueued e = future.get();
                    out.println(String.join("\t", e.job().id(), e.job().identity(), "" + e.partition(), "" + e.offset()));
                } catch (ExecutionException e) {
                    System.err.println(e.getCause());
                    failed = true;
                }
            }
        }
        out.flush();
        System.exit(failed ? 1 : 0);
    }
}
