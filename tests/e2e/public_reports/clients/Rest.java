// Rest URL BODY: posts the body in the ways of Java's own clients, and prints each answer on a line.
import java.io.ByteArrayInputStream;
import java.net.HttpURLConnection;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;

public class Rest {
  public static void main(String[] arguments) throws Exception {
    URI url = URI.create(arguments[0]);
    byte[] body = arguments[1].getBytes();
    for (HttpClient.Version version : HttpClient.Version.values()) {
      HttpClient client = HttpClient.newBuilder().version(version).build();
      HttpRequest.Builder request = HttpRequest.newBuilder(url);
      HttpRequest[] requests = {
        request.POST(BodyPublishers.ofByteArray(body)).build(),
        request.POST(BodyPublishers.ofInputStream(() -> new ByteArrayInputStream(body))).build(),
        request.POST(BodyPublishers.ofByteArray(body)).expectContinue(true).build(),
      };
      for (HttpRequest one : requests) System.out.println(client.send(one, BodyHandlers.ofString()).body());
    }
    HttpURLConnection connection = (HttpURLConnection) url.toURL().openConnection();
    connection.setDoOutput(true);
    connection.setChunkedStreamingMode(5);
    connection.getOutputStream().write(body);
    connection.getOutputStream().close();
    System.out.println(new String(connection.getInputStream().readAllBytes()));
    System.exit(0);
  }
}
