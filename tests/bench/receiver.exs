# SPDX-License-Identifier: MIT

# The receiver of the Elixir tutorial "Playing with Sockets and Processes", mended so that it runs: its
# loop has one name, a Buffer that dies takes no connection along from the beginning on, and the backlog
# is as long as the other servers'. The sink writes each line to stdout, which is a file.
defmodule Buffer do
  def create, do: {:ok, spawn_link(fn -> collect("") end)}
  def receive(pid, data), do: send(pid, {:data, data})

  defp collect(rest) do
    receive do
      {:data, data} ->
        [rest | lines] = String.split(rest <> data, "\n") |> Enum.reverse()
        lines |> Enum.reverse() |> Enum.each(&Sink.write/1)
        collect(rest)
    end
  end
end

defmodule Sink do
  def start do
    {:ok, file} = :file.open("/dev/stdout", [:append, :raw, :binary])
    Process.register(self(), Sink)
    loop(file)
  end

  # Waits for its answer, so that a sink that is behind slows the Buffers down.
  def write(line) do
    send(Sink, {:line, self(), line})

    receive do
      :written -> :ok
    end
  end

  defp loop(file) do
    receive do
      {:line, from, line} ->
        :ok = :file.write(file, [line, "\n"])
        send(from, :written)
        loop(file)
    end
  end
end

defmodule Receiver do
  def accept(listener) do
    {:ok, client} = :gen_tcp.accept(listener)

    pid =
      spawn(fn ->
        Process.flag(:trap_exit, true)
        {:ok, buffer} = Buffer.create()

        receive do
          :serve -> serve(client, buffer)
        end
      end)

    :gen_tcp.controlling_process(client, pid)
    send(pid, :serve)
    accept(listener)
  end

  defp serve(client, buffer) do
    case :gen_tcp.recv(client, 0) do
      {:ok, data} ->
        buffer = maybe_recreate(buffer)
        Buffer.receive(buffer, data)
        serve(client, buffer)

      {:error, _reason} ->
        :gen_tcp.close(client)
    end
  end

  defp maybe_recreate(original) do
    receive do
      {:EXIT, ^original, _reason} ->
        {:ok, buffer} = Buffer.create()
        buffer
    after
      10 -> original
    end
  end
end

[port] = System.argv()
options = [:binary, ip: {127, 0, 0, 1}, active: false, reuseaddr: true, backlog: 4096]
{:ok, listener} = :gen_tcp.listen(String.to_integer(port), options)
spawn(fn -> Receiver.accept(listener) end)
Sink.start()
