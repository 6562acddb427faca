// SPDX-License-Identifier: Apache-2.0
import NIOCore
import NIOHTTP1

/// Lets so many bytes of a request pass, and refuses the rest: a request has a line and some headers.
final class RequestGate: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer
  typealias OutboundOut = ByteBuffer

  private var left: Int

  init(byteCountMax: Int) { left = byteCountMax }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    guard left >= 0 else { return }
    left -= Self.unwrapInboundIn(data).readableBytes
    if left >= 0 { return context.fireChannelRead(data) }
    let refusal = ByteBuffer(
      string: "HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
    let channel = context.channel
    context.writeAndFlush(Self.wrapOutboundOut(refusal)).whenComplete { _ in channel.close(promise: nil) }
  }
}

/// Answers one request, and closes.
final class RequestHandler: ChannelInboundHandler {
  typealias InboundIn = HTTPServerRequestPart
  typealias OutboundOut = HTTPServerResponsePart

  private let isLocal: Bool
  private let respond: @Sendable (WebRequest) -> WebResponse
  private var isAnswered = false

  init(isLocal: Bool, respond: @escaping @Sendable (WebRequest) -> WebResponse) {
    self.isLocal = isLocal
    self.respond = respond
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    // A body is not looked at, nor is a second request.
    guard case .head(let head) = Self.unwrapInboundIn(data), !isAnswered else { return }
    isAnswered = true
    var headers = HTTPHeaders(Self.fixedHeaders)
    let response = answer(head, &headers)
    headers.add(name: "Content-Type", value: response.contentType)
    headers.add(name: "Content-Length", value: "\(response.body.utf8.count)")
    let status = HTTPResponseStatus(statusCode: response.status)
    context.write(Self.wrapOutboundOut(.head(.init(version: .http1_1, status: status, headers: headers))), promise: nil)
    if head.method != .HEAD {
      context.write(Self.wrapOutboundOut(.body(.byteBuffer(ByteBuffer(string: response.body)))), promise: nil)
    }
    let channel = context.channel
    context.writeAndFlush(Self.wrapOutboundOut(.end(nil))).whenComplete { _ in channel.close(promise: nil) }
  }

  private func answer(_ head: HTTPRequestHead, _ headers: inout HTTPHeaders) -> WebResponse {
    guard head.method == .GET || head.method == .HEAD else {
      headers.add(name: "Allow", value: "GET, HEAD")
      return .plain(405, "Only GET and HEAD: nothing can be changed here.")
    }
    if isLocal, let host = head.headers.first(name: "Host"), !HostName.isLoopback(host) {
      return .plain(403, "This server is for 127.0.0.1 and localhost, not for \(host.prefix(100)).")
    }
    let path = head.uri.prefix { $0 != "?" && $0 != "#" }
    return respond(WebRequest(path: String(path), accept: head.headers["Accept"].joined(separator: ",")))
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

  /// The page needs nothing from anywhere, and nobody shall frame it or guess at it.
  private static let fixedHeaders = [
    ("Connection", "close"), ("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    (
      "Content-Security-Policy",
      "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:; "
        + "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
  ]
}
