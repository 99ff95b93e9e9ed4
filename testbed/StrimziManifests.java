import com.fasterxml.jackson.annotation.JsonInclude;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.MappingIterator;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.introspect.Annotated;
import com.fasterxml.jackson.databind.introspect.JacksonAnnotationIntrospector;
import com.fasterxml.jackson.dataformat.yaml.YAMLMapper;
import io.strimzi.api.kafka.model.topic.KafkaTopic;
import io.strimzi.api.kafka.model.user.KafkaUser;
import java.io.File;
import java.util.Iterator;
import java.util.List;

/** Prints, for each manifest of some files, its place, a tab, and what is wrong with it, if anything. */
public class StrimziManifests {
    /** Strimzi's classes keep keys that they do not know. Without these setters, such a key is an error. */
    private static class Strict extends JacksonAnnotationIntrospector {
        @Override
        public Boolean hasAnySetter(Annotated annotated) {
            return false;
        }

        /** A value is kept even if it is the default. */
        @Override
        public JsonInclude.Value findPropertyInclusion(Annotated annotated) {
            return JsonInclude.Value.construct(JsonInclude.Include.ALWAYS, JsonInclude.Include.ALWAYS);
        }
    }

    private static final ObjectMapper YAML = YAMLMapper.builder()
            .annotationIntrospector(new Strict())
            .enable(DeserializationFeature.FAIL_ON_UNKNOWN_PROPERTIES)
            .enable(JsonParser.Feature.STRICT_DUPLICATE_DETECTION)
            .build();

    public static void main(String[] files) throws Exception {
        for (String file : files) {
            int number = 0;
            try {
                MappingIterator<JsonNode> manifests = YAML.readerFor(JsonNode.class).readValues(new File(file));
                for (; manifests.hasNextValue(); number++) {
                    print(file, number, problemOf(manifests.nextValue()));
                }
            } catch (JsonProcessingException error) { // the rest of the file cannot be read
                print(file, number, error.getOriginalMessage());
            }
        }
    }

    private static void print(String file, int number, String problem) {
        System.out.println(file + ":" + number + "\t" + problem.replace('\n', ' '));
    }

    private static String problemOf(JsonNode given) {
        String kind = given.path("kind").asText();
        try {
            switch (kind) {
                case "KafkaTopic": return problemOf(given, KafkaTopic.class, KafkaTopic.VERSIONS);
                case "KafkaUser": return problemOf(given, KafkaUser.class, KafkaUser.VERSIONS);
                default: return "another kind: " + kind;
            }
        } catch (JsonProcessingException error) {
            return error.getMessage();
        }
    }

    private static String problemOf(JsonNode given, Class<?> kind, List<String> versions)
            throws JsonProcessingException {
        String version = given.path("apiVersion").asText();
        if (!versions.contains(version.replace("kafka.strimzi.io/", ""))) {
            return "another version: " + version;
        }
        return lost(given, YAML.valueToTree(YAML.treeToValue(given, kind)), "");
    }

    /** Returns what the classes have not kept as it was given, such as a value that an enumeration lacks. */
    private static String lost(JsonNode given, JsonNode kept, String path) {
        if (given.isValueNode() || kept == null || given.getNodeType() != kept.getNodeType()) {
            return kept != null && given.asText().equals(kept.asText()) ? "" : "not kept: " + path + " " + given;
        }
        Iterator<String> names = given.fieldNames();
        while (names.hasNext()) {
            String name = names.next();
            String problem = lost(given.get(name), kept.get(name), path + "/" + name);
            if (!problem.isEmpty()) return problem;
        }
        for (int n = 0; given.isArray() && n < given.size(); n++) {
            String problem = lost(given.get(n), kept.get(n), path + "/" + n);
            if (!problem.isEmpty()) return problem;
        }
        return "";
    }
}
