import java.io.InputStream;
import java.net.URI;
import java.time.Instant;
import java.util.List;
import java.util.Properties;
import java.util.UUID;
import org.apache.flink.avro.shaded.org.apache.avro.Schema;
import org.apache.flink.avro.shaded.org.apache.avro.generic.GenericData;
import org.apache.flink.avro.shaded.org.apache.avro.generic.GenericRecord;
import org.apache.flink.formats.avro.registry.confluent.ConfluentRegistryAvroSerializationSchema;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** Publishes one check-in: java Publish.java PATIENT [SUBJECT]. */
public class Publish {
    static final String EVENT = "org.journeylog.event.PatientCheckedIn";

    public static void main(String[] arguments) throws Exception {
        String patient = arguments[0];
        String subject = arguments.length > 1 ? arguments[1] : EVENT;
        String registry = System.getenv("REGISTRY"); // http://journeylog:8080/registry
        String topic = System.getenv().getOrDefault("INBOX", "journey.inbox");

        Schema schema;
        String url = registry + "/subjects/" + EVENT + "/versions/latest/schema";
        try (InputStream text = URI.create(url).toURL().openStream()) {
            schema = new Schema.Parser().parse(text);
        }
        Schema headerSchema = schema.getField("header").schema();
        GenericRecord source = new GenericData.Record(headerSchema.getField("source").schema());
        source.put("system", "java-desk");
        long now = Instant.now().toEpochMilli() * 1000;
        GenericRecord header = new GenericData.Record(headerSchema);
        header.put("event_id", UUID.randomUUID().toString());
        header.put("occurred_at", now);
        header.put("recorded_at", now);
        header.put("zone", "Asia/Seoul");
        header.put("source", source);
        header.put("patient_id", patient);
        header.put("site", "seoul");
        header.put("confidentiality", List.of());
        GenericRecord event = new GenericData.Record(schema);
        event.put("header", header);
        event.put("appointment_id", "A-17");

        Properties settings = new Properties();
        settings.put("bootstrap.servers", System.getenv("KAFKA"));
        settings.put("acks", "all");
        settings.put("enable.idempotence", "true");
        settings.put("key.serializer", StringSerializer.class.getName());
        settings.put("value.serializer", ByteArraySerializer.class.getName());
        var serializer = ConfluentRegistryAvroSerializationSchema.forGeneric(subject, schema, registry);
        try (KafkaProducer<String, byte[]> producer = new KafkaProducer<>(settings)) {
            producer.send(new ProducerRecord<>(topic, patient, serializer.serialize(event))).get();
        }
        System.out.println(header.get("event_id"));
    }
}
