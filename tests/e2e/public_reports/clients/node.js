// node.js REST GRPC REQUEST: calls values:untouched in the ways of Node's own modules. REQUEST: a file with a framed
// PredictRequest. Prints what is wrong, or "all is well" at the end.
'use strict';
const http = require('http');
const http2 = require('http2');
const fs = require('fs');

const [rest, grpc, file] = process.argv.slice(2);
const [host, port] = rest.split(':');
const path = '/model/values:untouched';
const body = '{"instances": [{"x": 1}]}';
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });

function is(what, seen, expected) {
  if (JSON.stringify(seen) === JSON.stringify(expected)) return;
  console.log(`${what}: ${JSON.stringify(seen)} instead of ${JSON.stringify(expected)}`);
  process.exit(1);
}

// `send` writes the body and ends the request.
function post(what, options, send) {
  return new Promise((resolve) => {
    const request = http.request({ host, port, path, method: 'POST', agent, ...options }, (answer) => {
      let text = '';
      answer.on('data', (piece) => (text += piece));
      answer.on('end', () => {
        is(what, [answer.statusCode, text], [200, '{"instances":[{"y":1}]}']);
        resolve(request.reusedSocket);
      });
    });
    request.on('error', (error) => is(what, error.message, 'no error'));
    send(request);
  });
}

function call(session) {
  return new Promise((resolve) => {
    const seen = { data: 0 };
    const stream = session.request({
      ':method': 'POST',
      ':path': '/mindspore.serving.proto.MSService/Predict',
      'content-type': 'application/grpc',
      te: 'trailers',
    });
    stream.on('response', (headers) => (seen.status = headers[':status']));
    stream.on('data', (piece) => (seen.data += piece.length));
    stream.on('trailers', (trailers) => (seen.grpc = trailers['grpc-status']));
    stream.on('error', (error) => is('a call', error.message, 'no error'));
    stream.on('close', () => {
      is('a call', [seen.status, seen.grpc, seen.data > 5], [200, '0', true]);
      resolve();
    });
    stream.end(fs.readFileSync(file));
  });
}

async function main() {
  await post('a whole body', {}, (request) => request.end(body));
  const chunked = await post('chunks', {}, (request) => {
    for (const letter of body) request.write(letter);
    request.end();
  });
  is('the connection is used again', chunked, true);
  await post('trailers', { headers: { 'Transfer-Encoding': 'chunked', Trailer: 'X-Sum' } }, (request) => {
    request.write(body);
    request.addTrailers({ 'X-Sum': '1' });
    request.end();
  });
  await post('Expect', { headers: { Expect: '100-continue', 'Content-Length': body.length } }, (request) => {
    request.on('continue', () => request.end(body));
    request.flushHeaders();
  });
  await post('a socket that is ended after the request', { agent: false }, (request) => {
    request.end(body, () => request.socket.end());
  });
  agent.destroy();

  const answers = await Promise.all(
    Array.from({ length: 50 }, () => fetch(`http://${rest}${path}`, { method: 'POST', body })),
  );
  for (const answer of answers) is('fetch', await answer.json(), { instances: [{ y: 1 }] });
  const stream = new Blob([body]).stream();
  const streamed = await fetch(`http://${rest}${path}`, { method: 'POST', body: stream, duplex: 'half' });
  is('fetch of a stream', await streamed.json(), { instances: [{ y: 1 }] });

  const session = http2.connect(`http://${grpc}`);
  session.on('error', (error) => is('the session', error.message, 'no error'));
  await Promise.all(Array.from({ length: 50 }, () => call(session)));
  await new Promise((resolve) => session.ping(() => resolve()));
  const last = call(session);
  session.close();
  await last;
  console.log('all is well');
  process.exit(0);
}

main();
